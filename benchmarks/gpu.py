"""Every array function and the speed rows on a GPU, in one command: ``python benchmarks/gpu.py``.

Needs a checkout and NumPy, SciPy, xarray and CuPy, nothing else: what the numerics import beyond these has a
stand-in below that is used only where the real package is missing. Writes ``docs/validation/gpu.json``, from
which the validation page is rendered. Without a GPU it says so, writes nothing and ends with status 1.

``--library numpy`` does all of it on the CPU, to try the command where there is no GPU; it writes nothing
unless ``--folder`` says where.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import pkgutil
import platform
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DEVICES = {"cupy": "cupy", "numpy": "cpu", "torch": "torch"}
RANK = 10
CODE = (
    "neurotools/arrays.py",
    *(
        f"neurotools/numerics/{name}.py"
        for name in (
            "affinity",
            "cp",
            "glm",
            "hmm",
            "hmm_scan",
            "ntf",
            "pairs",
            "switching",
            "switching_chain",
            "switching_restarts",
            "switching_scales",
            "switching_terms",
            "tensor",
            "units",
        )
    ),
    "benchmarks/array_functions.py",
    "benchmarks/gpu.py",
    "benchmarks/switching_steps.py",
)


# ---- stand-ins on a bare machine --------------------------------------------------------------------
def stand_in() -> list[str]:
    """Put stand-ins where packages are missing; return their names."""
    missing = []
    makers = {"array_api_compat": _array_api_compat, "jaxtyping": _jaxtyping, "lazy_loader": _lazy}
    for name, make in makers.items():
        try:
            importlib.import_module(name)
        except ImportError:
            make()
            missing.append(name)
    if importlib.util.find_spec("numba") is None:
        _numba()
        missing.append("numba")
    return missing


def _numba() -> None:
    """The scan of devices serves on the host, too: slower than the compiled recursion."""
    arrays = importlib.import_module("neurotools.arrays")
    arrays.KERNELS["smooth", "cpu"] = arrays.KERNELS["smooth", "cupy"]


def _array_api_compat() -> None:
    """SciPy carries its own copy."""
    copy = importlib.import_module("scipy._lib.array_api_compat")
    sys.modules["array_api_compat"] = copy
    for found in pkgutil.iter_modules(copy.__path__):
        if found.name in {"numpy", "cupy"}:
            try:
                module = importlib.import_module(f"{copy.__name__}.{found.name}")
            except ImportError:  # the copy for CuPy needs CuPy
                continue
            sys.modules[f"array_api_compat.{found.name}"] = module


def _jaxtyping() -> None:
    """Annotations are text at run time, so that any name with ``[...]`` serves."""

    class Annotation:
        def __class_getitem__(cls, item: object) -> type:
            return cls

    module = types.ModuleType("jaxtyping")
    for name in ("Bool", "Float", "Int", "Shaped"):
        setattr(module, name, Annotation)
    sys.modules["jaxtyping"] = module


def _lazy() -> None:
    """The names at the top of the package are not used here."""

    def attach_stub(package: str, filename: str) -> tuple[object, object, list[str]]:
        def absent(name: str) -> object:
            raise AttributeError(name)

        return absent, list, []

    module = types.ModuleType("lazy_loader")
    module.attach_stub = attach_stub  # type: ignore[attr-defined]
    sys.modules["lazy_loader"] = module


# ---- rows -------------------------------------------------------------------------------------------
def wait_for(library: str) -> Callable[[], Any]:
    """Return a function that returns once the device has done all it was asked."""
    if library != "cupy":
        return lambda: None
    cupy = importlib.import_module("cupy")
    return cupy.cuda.get_current_stream().synchronize


def parity_rows(device: str) -> list[Any]:
    """Largest difference of every case from NumPy, and how many functions no case calls."""
    from benchmarks import array_functions as functions
    from benchmarks.record import Row

    rows = []
    for dtype, tolerance in functions.TOLERANCE.items():
        for case in functions.CASES:
            number = functions.difference(case, device, dtype)
            rows.append(Row(f"{case.name}, {dtype}: difference from NumPy", number, f"<= {tolerance:g}"))
    left_out = functions.never_called()
    note = f"of {len(functions.array_functions())}" + (f": {', '.join(left_out)}" if left_out else "")
    return [Row("array functions that are not compared", len(left_out), "<= 0", note=note), *rows]


def jobs() -> dict[str, Callable[[str, str], Callable[[], Any]]]:
    """Sweeps to time, by device and dtype."""
    from benchmarks import planted, sweeps

    x, truth = planted.symmetric_tensor()
    start = [np.random.default_rng(mode).random(factor.shape) for mode, factor in enumerate(truth)]

    def symcp(n_units: int, n_time: int, n_restarts: int) -> Callable[[str, str], Callable[[], Any]]:
        return lambda device, dtype: sweeps.layout_sweep(
            sweeps.implicit_layout(n_units, n_time, device, dtype), RANK, n_restarts
        )

    return {
        "dense sweep, 200 x 200 x 300": lambda device, dtype: sweeps.dense_sweep(x, start, device, dtype),
        "symcp sweep, 200 units x 300 times, ten restarts": symcp(200, 300, 10),
        "symcp sweep, 2,000 units x 3,000 times": symcp(2000, 3000, 1),
        "symcp sweep, 2,000 units x 3,000 times, ten restarts": symcp(2000, 3000, 10),
        **switching_jobs(),
        "pair sweep, 189 units x 960 times": lambda device, dtype: sweeps.layout_sweep(
            sweeps.pair_layout(189, 960, device, dtype), RANK
        ),
    }


def switching_jobs() -> dict[str, Callable[[str, str], Callable[[], Any]]]:
    """Parts of a switching GLM: five states, 50,000 samples, 50 units."""
    from benchmarks import switching_steps

    def recursion(n_chain: int) -> Callable[[str, str], Callable[[], Any]]:
        return lambda device, dtype: switching_steps.recursion((n_chain, 50_000, 5), device, dtype)

    def iteration(n_starts: int) -> Callable[[str, str], Callable[[], Any]]:
        return lambda device, dtype: switching_steps.iteration((50_000, 50, 5), n_starts, device, dtype)

    return {
        "forward-backward of a hidden chain, 50,000 samples x 5 states": recursion(1),
        "forward-backward of eight hidden chains": recursion(8),
        "iteration of a switching GLM, 50,000 samples x 50 units x 5 states": iteration(1),
        "iteration of a switching GLM from eight starts": iteration(8),
    }


def speed_rows(device: str, wait: Callable[[], Any]) -> list[Any]:
    """Sweeps of rank 10 on the device and, in the same run, by NumPy: wall time, the best of several."""
    from benchmarks.record import Row

    rows = peak_rows(device, wait)
    for words, make in jobs().items():
        for dtype in ("float64", "float32"):
            there = seconds(make(device, dtype), wait)
            here = seconds(make("cpu", dtype), lambda: None, repeats=3)
            note = f"{here / there:.1f} times as quick as NumPy, {1e3 * here:.2f} ms"
            rows.append(Row(f"{words}, {dtype}", 1e3 * there, unit="ms", note=note))
    return rows


def peak_rows(device: str, wait: Callable[[], Any]) -> list[Any]:
    """Matrix products on the device."""
    from benchmarks.record import Row
    from neurotools.arrays import to_device

    rows, size = [], 4096 if device == "cupy" else 1024
    for dtype in ("float64", "float32"):
        a = to_device(np.random.default_rng(0).random((size, size)), device, dtype)
        rate = 2 * size**3 / seconds(lambda a=a: a @ a, wait)
        rows.append(Row(f"matrix product of {size:,}, {dtype}", rate / 1e9, unit="GFlop/s"))
    return rows


def seconds(call: Callable[[], Any], wait: Callable[[], Any], repeats: int = 10) -> float:
    """Least wall seconds of several calls, each waited for; the first two, which compile, are not counted."""
    times = []
    for _ in range(repeats + 2):
        wait()
        begin = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - begin)
    return min(times[2:])


# ---- the command ------------------------------------------------------------------------------------
def device_words(library: str) -> str:
    """What was computed on."""
    if library != "cupy":
        return f"{platform.machine()} CPU"
    cupy = importlib.import_module("cupy")
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    runtime = cupy.cuda.runtime.runtimeGetVersion()
    cuda = f"{runtime // 1000}.{runtime % 1000 // 10}"
    return f"{properties['name'].decode()}, CUDA {cuda}, CuPy {cupy.__version__}"


def arguments_of(words: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", choices=sorted(DEVICES), default="cupy")
    parser.add_argument("--folder", type=Path, help="where to write gpu.json; docs/validation for CuPy")
    parser.add_argument("--no-speed", action="store_true", help="compare numbers only")
    return parser.parse_args(words)


def use_checkout() -> None:
    """Import from the checkout; this folder, which Python puts first for a script, would shadow names."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(ROOT), *(path for path in sys.path if Path(path or ".").resolve() != here)]


def main() -> int:
    """Run everything and write it down."""
    arguments = arguments_of()
    use_checkout()
    missing = stand_in()
    from benchmarks import record
    from neurotools.arrays import probe_cupy

    reason = probe_cupy() if arguments.library == "cupy" else None
    if reason is not None:
        print(f"There is no GPU to run on, so nothing was run or written: {reason}", file=sys.stderr)
        return 1
    print("stand-ins for: " + (", ".join(missing) or "nothing"))
    device, begin = DEVICES[arguments.library], time.perf_counter()
    rows = parity_rows(device)
    rows += [] if arguments.no_speed else speed_rows(device, wait_for(arguments.library))
    for row in rows:
        print(f"{row.verdict:9s} {row.compared}: {row.number:.4g} {row.unit} ({row.bound}) {row.note}")
    folder = arguments.folder or (record.RESULTS if arguments.library == "cupy" else None)
    if folder is not None:
        check = record.Check(
            name="gpu",
            title=f"Every array function and the sweeps, on {arguments.library}",
            run=lambda: rows,
            code=CODE,
        )
        wall, facts = time.perf_counter() - begin, {"device": device_words(arguments.library)}
        record.write(check, rows, wall, record.state_of(rows), folder=folder, **facts)
        print(f"wrote {folder / 'gpu.json'}")
    return int(record.state_of(rows) == "missed")


if __name__ == "__main__":
    sys.exit(main())
