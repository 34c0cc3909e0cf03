"""One file a claim; each measures a ratio against its reference in the same run."""
