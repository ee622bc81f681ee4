"""Running a study: its cells, planned, started on an engine, and followed to their stored curves."""
