"""Shelf of places for images: each file offers ``open_store(url, ...)``, which gives a ``Store``."""
