"""Fits to pictures: one function, one panel; each returns the Axes it drew on.

The names stand once, in ``__init__.pyi``, and are imported on first use, and with them matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
