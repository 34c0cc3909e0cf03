"""Shelf: a metric a file, found by its name."""
