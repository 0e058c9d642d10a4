"""Metrics of written answers: one file per metric, found by itself."""
