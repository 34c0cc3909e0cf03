"""Shelf of resources: each file offers ``add``, which puts its routes into an app."""
