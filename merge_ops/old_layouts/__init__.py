"""Published checkpoints whose layout is not transformers' own: recognised, and rewritten."""
