"""Fast versions of single functions of ``numerics``, one per array library, equal to the plain ones."""
