"""Engines that a study runs on: this machine, a Ray cluster, Slurm. `base.py` has the interface that they share."""
