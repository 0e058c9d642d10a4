"""Rewrites, one file each; `merge_ops.rewriting` finds them."""
