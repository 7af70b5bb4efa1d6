"""Labelled brain recordings to models of how they change: a map of the rooms.

``nt.load`` reads a recording; ``nt.samples`` holds small real ones. ``signals`` prepares them, ``models`` fit
them (a model is a frozen set of settings, a fit is an ``xarray.Dataset``), ``evaluate`` judges fits, ``plot``
draws them. ``numerics`` is the mathematics on plain arrays. ``registry`` knows them all by name. Named
pipelines for whole datasets stand in ``neurotools.pipelines`` and behind the command ``neurotools``.

The names below are listed once, in ``__init__.pyi``, where editors and type checkers read them too, and
are imported on first use.
"""

import lazy_loader

from neurotools._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
