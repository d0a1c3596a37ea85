"""A transcript in memory: read, named, measured, written."""
