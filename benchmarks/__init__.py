"""Benchmarks: what each part of the work costs, side by side in one run. Not part of the installed package."""
