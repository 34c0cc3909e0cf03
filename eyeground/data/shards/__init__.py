"""Prepared images in Parquet files of a few hundred megabytes, here or in an object store."""
