"""Benchmarks: ratios to what a user would pick instead, measured in one run. ``python -m benchmarks``."""
