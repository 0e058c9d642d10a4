"""Merge methods: one file each, found by name; see merge_ops/registry.py."""
