"""What a candidate is scored on: examples in, one score per example out."""
