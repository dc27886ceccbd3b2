"""Exact theory of mixup, and experiments that test it."""
