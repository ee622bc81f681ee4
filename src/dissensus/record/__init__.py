"""Recording: a tracked set's losses at tracking points, in any training loop, into a curves store."""
