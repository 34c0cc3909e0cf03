"""Models packed, opened and asked: bundles, runtimes, tables of answers, an HTTP service."""
