"""Recording to fit: one frozen dataclass of settings per file, with its verbs and its mathematics below."""

import lazy_loader

# a room of its own, which is imported when it is asked for
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["encoders"])
