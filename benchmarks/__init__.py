"""Ours against the peer a user would pick, in one run; and the checks behind the validation page."""
