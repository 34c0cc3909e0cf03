"""Shelf: a program that computes a network's outputs, a file each."""
