"""The one place where array libraries differ.

Numerical functions take and return arrays of one library and ask ``namespace(x)`` for it. Models call
``to_device`` on entry and ``to_numpy`` on exit. A device that is named explicitly is used or an error is
raised; only ``"auto"`` may fall back to the CPU.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from neurotools.errors import DeviceError, lookup

Array = Any  # any array of a library below; shapes and dtypes stand in jaxtyping annotations

LIBRARIES = {
    "cpu": "array_api_compat.numpy",
    "cupy": "array_api_compat.cupy",
    "torch": "array_api_compat.torch",
    "strict": "array_api_strict",  # for tests: refuses whatever the array standard lacks
}

# A kernel is faster than the plain function on one library and returns the same numbers. The plain
# function is passed to ``dispatch`` by the caller, stays readable, and is the kernel's oracle in tests.
KERNELS: dict[tuple[str, str], str] = {
    ("smooth", "cpu"): "kernels.numba_hmm:smooth",
    **{("smooth", device): "hmm_scan:smooth" for device in ("cupy", "torch", "strict")},
    **{("climb", device): "switching_restarts:climb" for device in ("cupy", "torch", "strict")},
    ("viterbi", "cpu"): "kernels.numba_hmm:viterbi",
    ("missing_information", "cpu"): "kernels.numba_missing:missing_information",
    ("chunk_rows", "cpu"): "kernels.blas_grams:chunk_rows",
    ("packed_outer", "cpu"): "kernels.blas_grams:packed_outer",
    ("add_product", "cpu"): "kernels.blas_grams:add_product",
    ("correlation_of_series", "cpu"): "kernels.numba_correlation:correlation_of_series",
    ("partial_correlation", "cpu"): "kernels.lapack:partial_correlation",
    ("spd_inverse", "cpu"): "kernels.lapack:spd_inverse",
}


def namespace(*arrays: Array) -> Any:
    """Return the array-standard namespace that all ``arrays`` share."""
    compat = importlib.import_module("array_api_compat")
    return compat.array_namespace(*arrays)


def library_of(x: Array) -> str:
    """Name the library in ``LIBRARIES`` that an array belongs to."""
    root = type(x).__module__.split(".")[0]
    return {"numpy": "cpu", "cupy": "cupy", "torch": "torch", "array_api_strict": "strict"}.get(root, "cpu")


def probe_cupy() -> str | None:
    """Return None when CuPy can compute on a GPU, else why it cannot."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy cannot be imported ({error}); pip install 'neurotools-xr[gpu]'"
    if not cupy.cuda.is_available():
        return "CuPy is installed but finds no usable CUDA device"
    return None


def probe_torch(device: str) -> str | None:
    """Return None when PyTorch can compute on ``device`` ("cpu", "cuda", "cuda:1"), else why it cannot."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return f"PyTorch cannot be imported ({error}); pip install 'neurotools-xr[torch]'"
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "PyTorch is installed but finds no usable CUDA device"
    return None


def resolve_device(device: str) -> tuple[str, str | None]:
    """Turn a device setting into (library, place within it), or raise ``DeviceError``.

    Settings are ``"cpu"``, ``"cupy"`` (also ``"cuda"`` and ``"gpu"``), ``"cupy:1"``, ``"torch"``,
    ``"torch:cuda"``, ``"strict"`` (tests) and ``"auto"``, which takes CuPy when it works and else the CPU.
    """
    name, _, place = device.partition(":")
    name = {"cuda": "cupy", "gpu": "cupy"}.get(name, name)
    if name == "auto":
        return ("cupy", None) if probe_cupy() is None else ("cpu", None)
    lookup("device", name, LIBRARIES)
    reason = None
    if name == "cupy":
        reason = probe_cupy()
    elif name == "torch":
        reason = probe_torch(place or "cpu")
    if reason is not None:
        raise DeviceError(
            f"device {device!r} was asked for and cannot be used: {reason}",
            fix='pass device="cpu", or device="auto" to use a GPU only where there is one',
        )
    return name, place or None


def to_device(x: np.ndarray, device: str, dtype: str | None = None) -> Array:
    """Copy a NumPy array to the library and place that ``device`` names.

    Parameters
    ----------
    x : numpy.ndarray
    device : str
        See ``resolve_device``.
    dtype : str, optional
        ``"float64"`` or ``"float32"``; kept as it is when omitted.
    """
    library, place = resolve_device(device)
    values = np.asarray(x) if dtype is None else np.asarray(x, dtype=dtype)
    if library == "cpu":
        return values
    if library == "cupy":
        cupy = importlib.import_module("cupy")
        with cupy.cuda.Device(int(place or 0)):
            return cupy.asarray(values)
    if library == "torch":
        torch = importlib.import_module("torch")
        return torch.as_tensor(np.ascontiguousarray(values), device=place or "cpu")
    strict = importlib.import_module("array_api_strict")
    # Its second device refuses to be turned into NumPy by accident, as GPU memory would.
    return strict.asarray(values, device=strict.Device(place or "device1"))


def to_numpy(x: Array) -> np.ndarray:
    """Copy an array of any library to host memory as a NumPy array."""
    library = library_of(x)
    if library == "cupy":
        return x.get()
    if library == "torch":
        return x.detach().cpu().numpy()
    if library == "strict":
        strict = importlib.import_module("array_api_strict")
        return np.asarray(strict.asarray(x, device=strict.Device("CPU_DEVICE"), copy=True))
    return np.asarray(x)


def like(values: np.ndarray, x: Array) -> Array:
    """Move host ``values`` to the library, device and dtype of ``x``: how chance enters a computation."""
    xp = namespace(x)
    return xp.asarray(np.ascontiguousarray(values), dtype=x.dtype, device=device_of(x))


def device_of(x: Array) -> Any:
    """Return the device of an array, in its own library's terms."""
    return importlib.import_module("array_api_compat").device(x)


def logsumexp(x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """Log of the sum of exponentials along ``axis``, safe where all entries are -inf."""
    xp = namespace(x)
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    total = xp.sum(xp.exp(x - top), axis=axis, keepdims=True)
    # All -inf gives -inf, without the warning that log(0) would raise.
    total = xp.where(total > 0, xp.log(xp.where(total > 0, total, xp.ones_like(total))) + top, total - xp.inf)
    return total if keepdims else xp.squeeze(total, axis=axis)


def log_gamma(x: Array) -> Array:
    """Log of the gamma function of positive numbers, which the array standard lacks (1e-13 relative).

    Lanczos (1964), SIAM J. Numer. Anal. B 1, 86, with the nine coefficients for g = 7.
    """
    xp = namespace(x)
    shifted = x - 1.0
    total = xp.full_like(x, LANCZOS[0])
    for k, coefficient in enumerate(LANCZOS[1:], start=1):
        total = total + coefficient / (shifted + k)
    base = shifted + 7.5
    return 0.9189385332046727 + (shifted + 0.5) * xp.log(base) - base + xp.log(total)


LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip
SHIFT = 8  # the series below hold to 1e-12 from here on


def digamma(x: Array) -> Array:
    """Slope of ``log_gamma``: Stirling's series after the recurrence (Abramowitz & Stegun 6.3.5, 6.3.18)."""
    xp = namespace(x)
    before: Array = 0.0
    for k in range(SHIFT):
        before = before + 1 / (x + k)
    far = x + SHIFT
    z = 1 / far**2
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132)))))
    return xp.log(far) - 0.5 / far - series - before


def trigamma(x: Array) -> Array:
    """Slope of ``digamma`` (Abramowitz & Stegun 6.4.6, 6.4.12)."""
    before: Array = 0.0
    for k in range(SHIFT):
        before = before + 1 / (x + k) ** 2
    far = x + SHIFT
    z = 1 / far**2
    series = z * (1 / 6 - z * (1 / 30 - z * (1 / 42 - z * (1 / 30 - z * (5 / 66)))))
    return 1 / far + 0.5 * z + series / far + before


def dispatch(name: str, x: Array, plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel registered for ``name`` on the library of ``x``, or the plain function."""
    target = KERNELS.get((name, library_of(x)))
    if target is None:
        return plain
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(f"neurotools.numerics.{module}"), attribute)


def loaded(module: str) -> bool:
    """Whether a module has been imported already (used to report versions without importing)."""
    return module in sys.modules
