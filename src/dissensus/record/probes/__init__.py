"""Probes: a model asked about the tracked examples' labels, a completion, or a preference."""
