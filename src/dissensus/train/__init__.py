"""Training: methods, the loop, and the recorder. Everything ends at the curves store."""
