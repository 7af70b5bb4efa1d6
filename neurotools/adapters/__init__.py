"""Faces that other libraries expect: scikit-learn, ArviZ, PyMC."""
