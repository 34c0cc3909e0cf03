"""Documents, and the writer of those that are made from the code."""
