"""How many components: planted numbers are found, held-out data are truly held out, refusals."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate import folds, heldout
from neurotools.evaluate import rank as module


def planted(seed, *, n_unit=24, n_time=160, rank=3, n_subject=None, noise=0.1):
    """A dense affinity of known rank: motifs of a third of the units, five bursts each."""
    rng = np.random.default_rng(seed)
    motifs = np.zeros((rank, n_unit, n_unit))
    for motif in motifs:
        members = rng.choice(n_unit, n_unit // 3, replace=False)
        motif[np.ix_(members, members)] = rng.gamma(2.0, size=(members.size, members.size))
    motifs = (motifs + motifs.swapaxes(1, 2)) * (1 - np.eye(n_unit))
    peaks = np.linspace(0, n_time, 5, endpoint=False)[:, None] + rng.uniform(0, n_time / 5, (rank, 5, 1))
    times = np.exp(-0.5 * ((np.arange(n_time) - peaks) / 4) ** 2).sum(axis=1)
    subject = np.ones((rank, 1)) if n_subject is None else rng.uniform(0.3, 1, (rank, n_subject))
    x = np.einsum("rij,rw,rt->wijt", motifs, subject, times)
    extra = np.triu(np.moveaxis(rng.normal(size=x.shape), -1, 1), 1)
    extra = np.moveaxis(extra + extra.swapaxes(-1, -2), 1, -1)
    x = np.maximum(x + noise * np.linalg.norm(x) / np.linalg.norm(extra) * extra, 0)
    dims = ("subject", "unit", "unit_to", "time")
    return xr.DataArray(x, dims=dims) if n_subject else xr.DataArray(x[0], dims=dims[1:])


def test_planted_rank_is_found():
    for seed in range(3):
        model = nt.NTF(rank=1, n_restarts=3, tol=1e-4, seed=seed)
        assert nt.rank_scan(model, planted(seed), (2, 3, 4)).selected_rank == 3, seed


def test_scan_is_labelled_and_repeats():
    data, model = planted(1), nt.NTF(rank=7, layout="symcp", n_restarts=2, max_iter=8)
    scan = nt.rank_scan(model, data, [2, 4])
    assert scan["heldout_error"].sizes == {"rank": 2, "fold": 5}
    assert scan["relative_error"].dims == scan["restart_similarity"].dims == ("rank",)
    assert scan["rank"].to_numpy().tolist() == [2, 4]
    assert scan.attrs["cv"] == "blocked-time"
    assert scan.attrs["selected_rank"] in (2, 4)
    xr.testing.assert_identical(scan, nt.rank_scan(model, data, [2, 4]))
    expected = nt.NTF(rank=4, layout="symcp", n_restarts=2, max_iter=8).fit(data).attrs["relative_error"]
    assert float(scan["relative_error"].sel(rank=4)) == expected


def test_subjects_can_be_held_out():
    data = planted(2, n_subject=4)
    scan = nt.rank_scan(nt.NTF(rank=1, n_restarts=2, tol=1e-5), data, (1, 3), cv="leave-subject-out")
    assert scan["heldout_error"].sizes == {"rank": 2, "fold": 4}
    assert scan.attrs["selected_rank"] == 3


def test_subjects_and_time_held_out_of_traces(rng):
    values = np.cumsum(rng.normal(size=(3, 8, 200)), axis=-1)
    values[1, 2] = np.nan
    coords = {"subject": list("abc"), "time": np.arange(200) / 10}
    x = xr.DataArray(values, dims=("subject", "unit", "time"), coords=coords)
    affinity = nt.differential_affinity(x, smooth_s=0.2)
    scan = nt.rank_scan(nt.NTF(rank=1, n_restarts=1, max_iter=20), affinity, (1, 2))
    assert np.isfinite(scan["heldout_error"]).all()


# ---- prediction -----------------------------------------------------------------------------------------
def test_prediction_of_the_truth_leaves_only_the_noise():
    data = planted(3, noise=0.0)
    fit = nt.NTF(rank=3, n_restarts=4, tol=1e-12, max_iter=2000).fit(data)
    half = folds.pair_halves(data, 1, seed=0)[0]
    error = heldout.predict_time(fit, heldout.affinity_parts(data.isel(time=slice(10, 30))), half)
    assert error < 1e-3


def test_predicted_pairs_are_not_those_that_were_fitted():
    """Values of the pairs that are predicted change the error, not the time courses behind it."""
    data = planted(4).isel(time=slice(0, 40))
    fit = nt.NTF(rank=3, n_restarts=2).fit(data)
    parts = heldout.affinity_parts(data)
    half = folds.pair_halves(data, 1, seed=0)[0]
    layout, patterns = heldout.laid_out(fit, parts)

    def one_way(known):
        space = patterns[None] * known
        terms = heldout.ntf.time_terms(layout.project(space), layout.grams(space), np.ones((1, 3, 1)))
        loading = heldout.tensor.nonnegative_solve(*terms)[0]
        x = layout.data.slices(0, 40)
        return (((x - loading.T @ patterns) ** 2)[:, ~known]).sum(), (x[:, ~known] ** 2).sum()

    (left_a, total_a), (left_b, total_b) = one_way(half), one_way(~half)
    expected = np.sqrt((left_a + left_b) / (total_a + total_b))
    assert heldout.predict_time(fit, parts, half) == pytest.approx(expected, rel=1e-9)


def test_smoothing_does_not_reach_over_the_cut(rng):
    x = xr.DataArray(rng.normal(size=(6, 300)), dims=("unit", "time"), coords={"time": np.arange(300) / 10})
    affinity = nt.differential_affinity(x, smooth_s=0.3)
    for train, test in folds.time_splits(affinity):
        gap = np.abs(train["time"].to_numpy()[:, None] - test["time"].to_numpy()).min()
        assert gap > 2 * 4 * 0.3  # both sides are smoothed with a filter cut at four widths
        assert set(np.unique(train["session"])) <= {0, 1}


# ---- choosing -------------------------------------------------------------------------------------------
def test_the_smallest_rank_that_is_as_good_is_taken():
    errors = np.array([[0.5, 0.6, 0.5], [0.31, 0.29, 0.30], [0.30, 0.30, 0.295], [0.2, 0.2, 0.2]])
    alike = np.array([1.0, 0.95, 0.92, 0.4])
    ranks = [1, 2, 3, 4]

    def scan(errors, alike, static):
        return xr.Dataset(
            {"heldout_error": (("rank", "fold"), errors), "restart_similarity": ("rank", alike),
             "static_error": ("fold", static)},
        )  # fmt: skip

    still = np.ones(3)
    assert module.select(scan(errors, alike, still), ranks)[0] == 2
    chosen, why = module.select(scan(errors, np.zeros(4), still), ranks)
    assert chosen == 4
    assert "restarts of no rank agree" in why
    chosen, why = module.select(scan(errors + 1, alike, still), ranks)
    assert chosen == 0
    assert "mean of every pair" in why


def test_what_cannot_be_held_out_is_said():
    model, data = nt.NTF(rank=1, n_restarts=1), planted(0)
    with pytest.raises(SettingsError, match="blocked-time, leave-subject-out, speckled"):
        nt.rank_scan(model, data, [1], cv="leave-one-out")
    with pytest.raises(SettingsError, match="each once"):
        nt.rank_scan(model, data, [2, 2])
    with pytest.raises(SchemaError, match="too few subjects"):
        nt.rank_scan(model, data, [1], cv="leave-subject-out")
    with pytest.raises(SchemaError, match="too little time"):
        nt.rank_scan(model, data.isel(time=slice(0, 4)), [1])


@pytest.mark.parametrize(
    "wrong", [None, [1.0], np.ones((2, 3)), xr.Dataset(), xr.DataArray([1.0, 2.0], dims="time")]
)
def test_what_is_no_affinity_is_refused_by_name(wrong):
    with pytest.raises(SchemaError):
        nt.rank_scan(nt.NTF(rank=1), wrong, [1, 2])
