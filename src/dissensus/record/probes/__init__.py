"""What is asked of a model about the tracked examples: their labels, a completion, or a preference."""
