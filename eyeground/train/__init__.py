"""Schedules, the training loop, checkpoints and the journal."""
