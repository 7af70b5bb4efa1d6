"""A linear probe finds what is there, finds nothing where nothing is, and never sees what it is judged on."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate import probes
from neurotools.evaluate.probes import balanced


def features_of(rng, signal, n=120, dims=("window", "feature")):
    label = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 6))
    x[:, 0] += signal * label
    return xr.DataArray(
        x,
        dims=dims,
        coords={"kind": (dims[0], np.array(["a", "b"])[label]), "run": (dims[0], np.arange(n) // 30)},
    )


def test_what_is_there_is_found_and_what_is_not_is_not(rng):
    clear = nt.probe(features_of(rng, 3.0), "kind", "run")
    assert float(clear["score"]) > 0.85
    assert float(clear["score_low"]) > 0.75
    nothing = [float(nt.probe(features_of(rng, 0.0), "kind", 4)["score"]) for _ in range(5)]
    assert abs(np.mean(nothing) - 0.5) < 0.08
    assert clear.attrs["chance"] == 0.5


def test_neighbours_of_what_is_held_out_are_not_trained_on(rng, monkeypatch):
    given, seen = features_of(rng, 1.0, n=20), []
    fitted = probes._fitted

    def watched(x, label, part):
        seen.append(x[:, 0])
        return fitted(x, label, part)

    monkeypatch.setattr(probes, "_fitted", watched)
    nt.probe(given, "kind", 4)
    order = {value: k for k, value in enumerate(given.values[:, 0])}
    trained = [sorted(order[value] for value in part) for part in seen]
    assert trained[0] == [*range(6, 20)]  # 0 to 4 are held out, 5 lies beside them
    assert trained[1] == [*range(4), *range(11, 20)]
    assert trained[3] == [*range(14)]


def test_trials_any_dimensions_and_logarithms(rng):
    plain = features_of(rng, 2.0)
    trials = np.exp(plain.rename(window="trial"))
    deep = trials.expand_dims(time=[0.0], axis=2)
    one, other = nt.probe(plain, "kind", "run"), nt.probe(deep, "kind", "run", log=True)
    np.testing.assert_array_equal(one["predicted"].values, other["predicted"].values)
    np.testing.assert_array_equal(one["predicted"], nt.probe(plain.T, "kind", "run")["predicted"])


def test_balanced_accuracy_is_the_mean_over_classes():
    label = np.array(["a"] * 8 + ["b"] * 2)
    assert balanced((label == "a").astype(float), label) == 0.5


def test_what_cannot_be_probed_is_said(rng):
    given = features_of(rng, 1.0)
    with pytest.raises(SettingsError, match="Did you mean 'kind'"):
        nt.probe(given, "kin", "run")
    with pytest.raises(SchemaError, match="three parts"):
        nt.probe(given, "kind", 2)
    with pytest.raises(SchemaError, match="takes a whole class"):
        nt.probe(given.assign_coords(kind=("window", np.where(np.arange(120) < 110, "a", "b"))), "kind", 4)
