"""Shelf: a way to make a heat map, a file each."""
