"""A shelf of image formats: one reader a file, pure functions from bytes."""
