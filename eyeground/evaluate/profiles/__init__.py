"""Shelf: named sets of metrics with their exact averaging."""
