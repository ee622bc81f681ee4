"""Reading a study: stored curves to tables, sensitivity, label noise and verdicts on claims. Imports no torch."""
