"""Settling: contested loss as a function of settled loss along training, and whether methods and rates share it."""
