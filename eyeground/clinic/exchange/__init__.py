"""Shelf of contracts: each file says how one kind of request is read, and how its answer is written."""
