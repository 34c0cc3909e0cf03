"""Shelf: a public data set a file, loaded by pick("data.datasets", name)."""
