"""How far a long computation is: it says so, and a pipeline's runner or a bar on the terminal shows it.

Nothing is computed here and no result depends on it. Where nobody listens and no terminal is watched, a
report costs less than a microsecond.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Protocol, runtime_checkable


@runtime_checkable
class Show(Protocol):
    """Told the share of the work that is done, from 0 to 1, and in a few words how it stands."""

    def __call__(self, share: float, note: str = "") -> None:
        """Say it."""


Listener = Callable[[str, float], None]

SHOW_AFTER_S = 2.0  # work that takes longer shows a bar on a terminal

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def working(title: str) -> Iterator[Show]:
    """Yield a function that is told the share of the work that is done, from 0 to 1.

    Only the outermost of nested works is shown.
    """
    listener = _listener.get()
    with contextlib.ExitStack() as stack:
        if listener is not None:
            show = _telling(listener, title)
        else:
            show = stack.enter_context(_bar(title))
        stack.enter_context(listening(lambda title, share: None))
        yield show


def _telling(listener: Listener, title: str) -> Show:
    def show(share: float, note: str = "") -> None:
        listener(f"{title}: {note}" if note else title, share)

    return show


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener(title, share)`` told of the work inside the ``with`` block, in place of a bar."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Show]:
    """A bar of our own, where someone watches a terminal and the work is not over at once."""
    if not sys.stderr.isatty():
        yield lambda share, note="": None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=1.0)
    begun = time.monotonic()

    def show(share: float, note: str = "") -> None:
        bar.update(task, completed=share, description=f"{title}: {note}" if note else title)
        if not bar.live.is_started and time.monotonic() - begun > SHOW_AFTER_S:
            bar.start()

    try:
        yield show
    finally:
        bar.stop()
