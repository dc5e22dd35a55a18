"""Validation: a candidate beside what is in force, on a golden set."""
