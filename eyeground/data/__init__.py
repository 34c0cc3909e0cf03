"""Clean pixels to labelled samples."""
