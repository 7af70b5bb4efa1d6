"""Surrogates keep what they promise, and destroy what they should; resampled motifs; core consistency."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError

T = 240


def traces(n_subject=None, sessions=False):
    rng = np.random.default_rng(0)
    bursts = (rng.random((2, T)) < 0.06) * rng.uniform(2, 6, (2, T))
    courses = np.apply_along_axis(lambda row: np.convolve(row, np.exp(-np.arange(20) / 4))[:T], 1, bursts)
    shape = (6, T) if n_subject is None else (n_subject, 6, T)
    values = courses[np.arange(6) // 3] + 0.05 * rng.normal(size=shape)
    coords = {"time": np.arange(T) / 10}
    if sessions:
        coords["session"] = ("time", np.repeat([0, 1], T // 2))
    dims = ("unit", "time") if n_subject is None else ("subject", "unit", "time")
    return xr.DataArray(values, dims=dims, coords=coords)


# ---- surrogates -------------------------------------------------------------------------------------
def test_common_phases_keep_correlations_at_every_lag():
    x = traces()
    y = nt.phase_randomise(x, together=True, seed=3)
    assert y.attrs["surrogate"] == "phase randomised together"
    assert np.abs(np.corrcoef(x.values[:, 1:], y.values[:, 1:])[:6, 6:]).max() < 0.5  # other values
    centred = [one.values - one.values.mean(axis=1, keepdims=True) for one in (x, y)]
    for lag in (0, 1, 7):
        there, here = (v @ np.roll(v, lag, axis=1).T for v in centred)
        np.testing.assert_allclose(here, there, atol=1e-8 * np.abs(there).max())


def test_a_shift_keeps_every_unit_and_breaks_their_agreement():
    x = traces()
    y = nt.circular_shift(x, min_shift_s=2.0, seed=3)
    assert y.attrs["surrogate"] == "circular shift"
    for a, b in zip(x.to_numpy(), y.to_numpy(), strict=True):
        lags = [k for k in range(T) if np.array_equal(np.roll(a, k), b)]
        assert len(lags) == 1
        assert 20 <= lags[0] <= T - 20
    assert np.corrcoef(x)[0, 1] > 0.8
    assert abs(np.corrcoef(y)[0, 1]) < 0.5
    xr.testing.assert_identical(y, nt.circular_shift(x, min_shift_s=2.0, seed=3))


def test_shifts_stay_within_sessions_and_missing_units_stay_missing():
    x = traces(n_subject=2, sessions=True)
    x[1, 2] = np.nan
    y = nt.circular_shift(x, seed=1)
    assert np.isnan(y[1, 2]).all()
    for half in (slice(0, T // 2), slice(T // 2, T)):
        np.testing.assert_array_equal(np.sort(x[0, 0, half]), np.sort(y[0, 0, half]))


def test_an_affinity_is_shifted_as_its_traces_would_be():
    affinity = nt.differential_affinity(traces(), kernel="lagged", lag_s=0.3)
    shifted = nt.circular_shift(affinity, seed=5)
    assert shifted.attrs["kernel"] == "lagged"
    for name in ("drive_up", "drive_down"):
        np.testing.assert_allclose(
            np.sort(shifted[name], axis=-1), np.sort(affinity[name], axis=-1), rtol=1e-12
        )
    up, sent = shifted["drive_up"].to_numpy(), shifted["sent_up"].to_numpy()
    np.testing.assert_array_equal(sent[:, 3:], up[:, :-3])
    assert (sent[:, :3] == 0).all()
    assert not np.array_equal(up, affinity["drive_up"])


def test_random_phases_keep_the_spectrum():
    x = traces()
    y = nt.phase_randomise(x, seed=2)
    np.testing.assert_allclose(np.abs(np.fft.rfft(y)), np.abs(np.fft.rfft(x)), atol=1e-9)
    assert abs(np.corrcoef(y)[0, 1]) < 0.5
    affinity = nt.phase_randomise(nt.differential_affinity(x, smooth_s=0.2), seed=2)
    assert float(affinity["drive_up"].max()) <= 1.0
    assert not ((affinity["drive_up"] > 0) & (affinity["drive_down"] > 0)).any()
    nt.NTF(rank=1, n_restarts=1, max_iter=3).fit(affinity)


def test_what_cannot_be_shifted_is_said():
    with pytest.raises(SettingsError, match="too short for circular shifts"):
        nt.circular_shift(traces(), min_shift_s=13.0)
    with pytest.raises(SchemaError, match="affinity is needed"):
        nt.circular_shift(xr.Dataset())
    with pytest.raises(SchemaError, match="factored form"):
        nt.rank_scan(nt.NTF(rank=1), nt.dense_affinity(nt.differential_affinity(traces())), [1], n_null=3)


# ---- the bootstrap ----------------------------------------------------------------------------------
def test_replicates_are_matched_and_their_edges_vary_most_where_nothing_recurs():
    affinity, model = nt.differential_affinity(traces()), nt.NTF(rank=2, n_restarts=1, tol=1e-4)
    fit = model.fit(affinity)
    found = nt.bootstrap_motifs(model, affinity, fit, n_replicates=3, block_s=2.0, seed=1)
    assert found["motif"].dims == ("replicate", "component", "unit", "unit_to")
    assert found.attrs["block_samples"] == 20
    assert float(found["similarity"].median()) > 0.9
    np.testing.assert_allclose(found["edge_mean"], nt.motif(fit), atol=0.3)
    np.testing.assert_allclose(found["edge_sd"], found["motif"].std("replicate", ddof=1))
    norms = np.sqrt((found["motif"] ** 2).sum(("unit", "unit_to")))
    np.testing.assert_allclose(norms / norms.isel(replicate=0), 1.0, rtol=1e-9)
    again = nt.bootstrap_motifs(model, affinity, n_replicates=3, block_s=2.0, seed=1)
    xr.testing.assert_identical(found, again)
    label = nt.BlockModel().fit(found["motif"].isel(component=0, drop=True).rename(replicate="component"))[
        "label"
    ]
    assert label.sizes["component"] == 3


def test_subjects_are_drawn_too_and_too_little_is_said():
    affinity = nt.differential_affinity(traces(n_subject=4))
    model = nt.NTF(rank=2, n_restarts=2, max_iter=50)
    found = nt.bootstrap_motifs(model, affinity, over="subject", n_replicates=3)
    assert float(found["similarity"].median()) > 0.9
    with pytest.raises(SchemaError, match="too few subjects"):
        nt.bootstrap_motifs(model, affinity.isel(subject=[0, 1]), over="subject")
    with pytest.raises(SchemaError, match="too little time"):
        nt.bootstrap_motifs(model, affinity, block_s=10.0)
    with pytest.raises(SettingsError, match="two replicates"):
        nt.bootstrap_motifs(model, affinity, n_replicates=1)


# ---- core consistency -------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["pair", "symcp", "ll1"])
def test_core_consistency_is_perfect_for_a_model_of_its_own_and_falls_with_too_many(layout):
    rng = np.random.default_rng(1)
    loading = rng.uniform(0.2, 1, (2, 8)) * (np.arange(8) // 4 == np.arange(2)[:, None])
    subject, time = rng.uniform(0.3, 1, (2, 5)), rng.random((2, 40)) ** 3
    x = np.einsum("ri,rj,rw,rt->wijt", loading, loading, subject, time)
    x[1, 3] = x[1, :, 3] = np.nan
    data = xr.DataArray(x, dims=("subject", "unit", "unit_to", "time"))
    options = {"layout": layout, "n_restarts": 2, "tol": 1e-6, "max_iter": 80}
    fit = nt.NTF(rank=2, **options).fit(data)
    assert nt.core_consistency(fit, data) > 99
    more = nt.NTF(rank=4, **options).fit(data)
    assert nt.core_consistency(more, data) < 60


def test_two_modes_have_no_core_and_one_subject_has_one_with_loadings():
    affinity = nt.differential_affinity(traces())
    assert np.isnan(nt.core_consistency(nt.NTF(rank=2, n_restarts=2).fit(affinity), affinity))
    fit = nt.NTF(rank=2, layout="symcp", n_restarts=3).fit(affinity)
    assert np.isfinite(nt.core_consistency(fit, affinity))
