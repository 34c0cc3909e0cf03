"""Answers become care: requests arrive, eyes are graded, a doctor signs, the result goes back."""
