"""Plan of a study before it starts: counts from its specification, times from finished cells or a short trial."""
