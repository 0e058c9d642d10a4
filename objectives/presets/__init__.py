"""Published data sets: one file per family, found by itself; see objectives/preset.py."""
