"""Annotators: agreement, competence, and noise told from disagreement, from answers that have names."""
