"""Shelf of message queues: each file offers ``connect(url, ...)``, which gives a ``Transport``."""
