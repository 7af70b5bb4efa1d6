"""Draws reach ArviZ of either version, and intervals do not depend on which."""

from __future__ import annotations

import types
from pathlib import Path

import arviz as az
import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.adapters import arviz as adapter
from neurotools.errors import SchemaError, SettingsError

REFERENCE = Path(__file__).resolve().parents[1] / "reference"


@pytest.fixture
def post(rng) -> xr.DataTree:
    posterior = xr.Dataset(
        {
            "rate": (("chain", "draw"), rng.gamma(2.0, size=(4, 500))),
            "weight": (("chain", "draw", "unit"), rng.normal(size=(4, 500, 3))),
        },
        coords={"chain": np.arange(4), "draw": np.arange(500), "unit": list("abc")},
    )
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((4, 500), bool))})
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    tree.attrs = {"sampler": "pymc NUTS"}
    return tree


def test_the_installed_version_gets_its_container(post):
    given = nt.to_arviz(post)
    assert isinstance(given, az.InferenceData)
    assert set(given.groups()) == {"posterior", "sample_stats"}
    assert given.attrs["sampler"] == "pymc NUTS"
    xr.testing.assert_identical(given["posterior"], post["posterior"].to_dataset())
    assert list(az.summary(given, var_names=["weight"]).index) == ["weight[a]", "weight[b]", "weight[c]"]
    back = adapter.from_arviz(given)
    xr.testing.assert_identical(back["posterior"].to_dataset(), post["posterior"].to_dataset())
    assert back.attrs == post.attrs


def test_the_next_version_gets_a_tree(post, monkeypatch):
    later = types.SimpleNamespace(__version__="1.3.0")  # whose container is xarray's own
    monkeypatch.setattr(adapter, "need", lambda *args, **options: later)
    given = nt.to_arviz(post)
    assert isinstance(given, xr.DataTree)
    xr.testing.assert_identical(given["posterior"].to_dataset(), post["posterior"].to_dataset())
    assert given.attrs == post.attrs
    assert adapter.from_arviz(given) is given


@pytest.mark.parametrize("kind", ["eti", "hdi"])
def test_intervals_are_the_same_from_either_container(post, kind):
    old, new = adapter.from_arviz(nt.to_arviz(post)), post
    found = [adapter.intervals(tree, prob=0.9, kind=kind) for tree in (old, new)]
    xr.testing.assert_identical(*found)
    values = post["posterior/rate"].to_numpy().ravel()
    low, high = found[0]["rate"].to_numpy()
    assert ((values >= low) & (values <= high)).mean() == pytest.approx(0.9, abs=0.002)


def test_highest_density_is_that_of_arviz_and_narrower_than_equal_tails(post):
    hdi = adapter.intervals(post, prob=0.9, kind="hdi")
    theirs = az.hdi(nt.to_arviz(post), hdi_prob=0.9)
    for name in ("rate", "weight"):
        np.testing.assert_array_equal(hdi[name], theirs[name])
    eti = adapter.intervals(post, prob=0.9, kind="eti")
    np.testing.assert_allclose(eti["rate"], np.quantile(post["posterior/rate"], [0.05, 0.95]), rtol=1e-14)
    assert np.diff(hdi["rate"])[0] < np.diff(eti["rate"])[0]


def test_intervals_and_diagnostics_are_those_of_version_one():
    """Against numbers frozen from ArviZ 1.3; tests/reference says how they were made."""
    with np.load(REFERENCE / "arviz_1.npz") as file:
        known = {name: file[name] for name in file.files}
    dims = {"rate": ("chain", "draw"), "weight": ("chain", "draw", "unit")}
    posterior = xr.Dataset({name: (dims[name], known[name]) for name in dims})
    post = xr.DataTree.from_dict({"posterior": posterior})
    for kind in ("eti", "hdi"):
        found = adapter.intervals(post, prob=0.9, kind=kind)
        theirs = az.hdi(nt.to_arviz(post), hdi_prob=0.9) if kind == "hdi" else found
        for name in dims:
            np.testing.assert_allclose(found[name], known[f"{kind}_{name}"], rtol=1e-13)
            np.testing.assert_allclose(theirs[name], known[f"{kind}_{name}"], rtol=1e-13)
    table = adapter.posterior_table(post, prob=0.9, kind="eti")
    for column, name in (("rhat", "rhat"), ("ess_bulk", "ess")):
        np.testing.assert_allclose(table.loc["rate", column], known[f"{name}_rate"], rtol=1e-8)
        np.testing.assert_allclose(table[column].to_numpy()[1:], known[f"{name}_weight"], rtol=1e-8)


def test_the_table_says_which_interval_and_agrees_with_arviz(post):
    table = adapter.posterior_table(post, prob=0.9, kind="eti")
    assert list(table.index) == ["rate", "weight[a]", "weight[b]", "weight[c]"]
    assert {"eti_5%", "eti_95%", "rhat", "ess_bulk", "ess_tail"} <= set(table)
    theirs = az.rhat(nt.to_arviz(post))
    assert table.loc["weight[b]", "rhat"] == pytest.approx(float(theirs["weight"].sel(unit="b")), rel=1e-10)
    bulk = az.ess(nt.to_arviz(post), method="bulk")
    assert table.loc["rate", "ess_bulk"] == pytest.approx(float(bulk["rate"]), rel=1e-8)


def test_what_is_no_posterior_is_refused(post):
    with pytest.raises(SchemaError, match="no group 'posterior'"):
        nt.to_arviz(xr.DataTree.from_dict({"prior": post["posterior"].to_dataset()}))
    with pytest.raises(SchemaError, match="'chain' and 'draw'"):
        nt.to_arviz(xr.DataTree.from_dict({"posterior": post["posterior"].to_dataset().mean("chain")}))
    with pytest.raises(SchemaError, match="InferenceData or a DataTree"):
        adapter.from_arviz(3)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        adapter.intervals(post, prob=94, kind="eti")
    with pytest.raises(SettingsError, match="no kind of interval"):
        adapter.intervals(post, prob=0.9, kind="ci")
