"""Copies of images without what tells whose they are."""
