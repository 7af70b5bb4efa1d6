"""Small real recordings under open licences that ship with the package."""

from __future__ import annotations

from pathlib import Path

SAMPLES: tuple[str, ...] = ("songbird-hvc", "m1-reaching", "alice-story", "eegmmidb")


def names() -> tuple[str, ...]:
    """Names that ``nt.load`` accepts."""
    return SAMPLES


def path(name: str) -> Path:
    """Folder of a sample, with its data, licence, citation and ``recording.yaml``."""
    return Path(__file__).parent / name.replace("-", "_")
