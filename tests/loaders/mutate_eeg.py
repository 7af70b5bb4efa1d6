"""Damage files in seeded ways and load each: run as a script, in a process with capped memory.

``python mutate_eeg.py FOLDER N OPENED[:DAMAGED] ...`` prints JSON: how many loads ended in a recording and in
a named error, and every load that ended otherwise.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import random
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

MEMORY_BYTES = 6 << 30  # of address space, libraries included
ARRAY_BYTES = 256 << 20
SECONDS = 20  # for one load


class HangError(BaseException):
    """One load took too long; no ``except Exception`` may swallow it."""


def ring(*_: object) -> None:
    raise HangError


def mutants(whole: bytes, rng: random.Random, n: int) -> Iterator[tuple[str, bytes]]:
    """Flipped bits, overwritten words, cuts and insertions; half of them where headers are."""
    for k in range(n):
        out = bytearray(whole)
        kind = rng.choice(["flip head", "flip head", "flip", "ones", "zeros", "cut", "cut head", "insert"])
        at = rng.randrange(min(len(out), 4096) if kind in {"flip head", "ones", "cut head"} else len(out))
        if kind.startswith("flip"):
            out[at] ^= 1 << rng.randrange(8)
        elif kind in {"ones", "zeros"}:
            out[at : at + 8] = (b"\xff" if kind == "ones" else b"\x00") * len(out[at : at + 8])
        elif kind.startswith("cut"):
            out = out[:at]
        else:
            out[at:at] = rng.randbytes(7)
        yield f"{k}: {kind} at {at}", bytes(out)


def outcome(path: Path) -> str:
    """Load everything there is: "read", "named", or what went wrong."""
    import neurotools as nt
    from neurotools.errors import NeurotoolsError
    from neurotools.loaders.reading.limits import limited_to

    signal.alarm(SECONDS)
    try:
        with limited_to(ARRAY_BYTES):
            recording = nt.load(path)
            for node in recording.subtree:
                for variable in node.data_vars.values():
                    variable.to_numpy()
        wrong = [f.problem for f in nt.validate(recording) if f.level == "error"]
        return "read" if not wrong else f"invalid: {wrong}"
    except NeurotoolsError:
        return "named"
    except HangError:
        return "hang"
    except BaseException:
        return traceback.format_exc()[-2000:]
    finally:
        signal.alarm(0)


def main(folder: Path, n: int, names: list[str]) -> dict[str, object]:
    rng = random.Random(20261121)
    counts: dict[str, dict[str, int]] = {}
    bad = []
    for name in names:
        opened, _, damaged = name.partition(":")
        file = folder / (damaged or opened)
        whole = file.read_bytes()
        counts[name] = {"read": 0, "named": 0}
        for what, data in mutants(whole, rng, n):
            file.write_bytes(data)
            with contextlib.redirect_stdout(sys.stderr):
                end = outcome(folder / opened)
            if end in counts[name]:
                counts[name][end] += 1
            else:
                bad.append([name, what, end])
        file.write_bytes(whole)
    return {"counts": counts, "bad": bad}


if __name__ == "__main__":
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, ring)
    warnings.simplefilter("ignore")
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
