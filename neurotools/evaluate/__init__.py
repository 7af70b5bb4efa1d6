"""Fits to numbers: cross-validation, stability, nulls, and what a fit says as a table."""
