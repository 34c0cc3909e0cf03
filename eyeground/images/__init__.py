"""Files to clean pixels."""
