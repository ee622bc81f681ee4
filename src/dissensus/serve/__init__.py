"""Serving a study while it runs: its cells, their progress and their curves, on this machine alone and read only."""
