"""What a study will cost before it starts: counts from its specification, times from a short calibration."""
