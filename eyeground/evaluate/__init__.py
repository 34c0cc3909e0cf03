"""Predictions to numbers; no framework here."""
