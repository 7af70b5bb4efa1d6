"""How far a long computation is: loops say it, and whoever wants to know listens.

Nothing is computed here and nothing depends on it. Without a listener a call costs less than a microsecond.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tick(what: str, done: int, total: int) -> None:
    """Say that ``done`` of at most ``total`` rounds of ``what`` ("sweeps") are over."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener(what, done, total)`` called for every tick inside the ``with`` block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
