"""Fits to pictures: one function, one panel; each returns the Axes it drew on."""
