"""Samples to probabilities: the only room that knows tensor frameworks."""
