"""Learning rates by successive halving: scores of short runs, what they say, and tables of them."""
