"""Cells that were trained on flipped labels: their groups, what finds the flips, and the tables of both."""
