"""Networks that turn recordings into features; the only room that imports PyTorch.

``create``, ``list``, ``open`` and ``join`` are the face (``nt.encoders``); all public names stand once in
``__init__.pyi``. ``neurogpt`` (EEG), ``duin`` (intracranial EEG), ``stmae`` (fMRI) and ``elm`` (one neuron)
hold one architecture each and can be read alone; a ``*_recipe`` says how one is trained and read. ``encoder``
has the verbs, ``training`` the one loop, ``splits`` keeps held-out windows apart, ``checkpoint`` and
``folder`` write, verify and convert weights.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
