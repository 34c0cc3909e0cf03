"""Shelf: a verb a file."""
