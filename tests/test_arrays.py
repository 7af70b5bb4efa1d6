"""One table of array libraries: transfers, namespaces, and what an explicit device does."""

import importlib

import numpy as np
import pytest
from scipy.special import logsumexp as scipy_logsumexp

from neurotools import arrays
from neurotools.errors import DeviceError, SettingsError


def test_round_trip_keeps_values_and_dtype(device, rng):
    for dtype in ("float64", "float32"):
        x = rng.normal(size=(4, 5)).astype(dtype)
        moved = arrays.to_device(x, device)
        assert arrays.library_of(moved) == device
        back = arrays.to_numpy(moved)
        assert back.dtype == x.dtype
        np.testing.assert_array_equal(back, x)


def test_to_device_casts_when_asked(device):
    assert "float32" in str(arrays.to_device(np.ones(2), device, "float32").dtype)


def test_like_follows_library_dtype_and_device(device, rng):
    x = arrays.to_device(rng.normal(size=3), device, "float32")
    y = arrays.like(rng.normal(size=3), x)
    assert arrays.library_of(y) == device
    assert y.dtype == x.dtype
    assert arrays.device_of(y) == arrays.device_of(x)
    assert arrays.to_numpy(x + y).shape == (3,)


def test_strict_sits_on_a_device_that_refuses_numpy(rng):
    x = arrays.to_device(rng.normal(size=3), "strict")
    with pytest.raises(RuntimeError):
        np.asarray(x)


def test_logsumexp_equals_scipy_and_survives_minus_infinity(device, rng):
    x = rng.normal(size=(3, 4)) * 500
    x[1] = -np.inf
    for axis in (0, 1):
        got = arrays.to_numpy(arrays.logsumexp(arrays.to_device(x, device), axis=axis))
        np.testing.assert_allclose(got, scipy_logsumexp(x, axis=axis), rtol=1e-12)
    kept = arrays.logsumexp(arrays.to_device(x, device), axis=1, keepdims=True)
    assert tuple(kept.shape) == (3, 1)


def test_an_explicit_gpu_runs_or_raises():
    if arrays.probe_cupy() is None:
        assert arrays.resolve_device("cupy") == ("cupy", None)
        return
    for name in ("cupy", "cuda", "gpu", "cupy:0"):
        with pytest.raises(DeviceError, match='device="auto"'):
            arrays.to_device(np.ones(2), name)
    assert arrays.resolve_device("auto") == ("cpu", None)


def test_unknown_devices_are_named():
    with pytest.raises(SettingsError, match=r"no device named 'cpuu'. Did you mean 'cpu'\?"):
        arrays.resolve_device("cpuu")


def test_every_kernel_resolves():
    for target in arrays.KERNELS.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(f"neurotools.numerics.{module}"), name))


def test_without_a_kernel_the_plain_function_is_taken():
    assert arrays.dispatch("no such kernel", np.ones(1), sum) is sum
