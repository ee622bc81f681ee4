"""Training: methods, the loop, several processes, checkpoints. Everything ends at the curves store."""
