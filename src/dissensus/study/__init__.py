"""Studies: their cells, running them, what became of them, and the tables made of their curves."""
