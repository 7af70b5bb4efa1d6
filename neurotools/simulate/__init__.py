"""Recordings whose true parameters are known."""
