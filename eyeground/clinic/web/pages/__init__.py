"""Shelf of pages: each file adds what a browser opens under its addresses."""
