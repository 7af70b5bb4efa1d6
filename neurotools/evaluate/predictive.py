"""Do the counts look as the model says they should? Observed against foretold."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError
from neurotools.numerics import predictive as maths
from neurotools.schema.posterior import posterior_group, stacked

PIT_BINS = 20
WHAT = "a posterior predictive check"


def posterior_check(
    post: xr.DataTree, *, levels: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95), seed: int = 0
) -> xr.Dataset:
    """Compare counts with what the posterior foretells: calibration of each bin, statistics of each unit.

    Parameters
    ----------
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``.
    levels : tuple of float
        Levels of central predictive intervals.
    seed : int
        Of the randomised probability integral transform.

    Returns
    -------
    xarray.Dataset
        - ``pit`` (time, unit): randomised probability integral transforms, uniform when the predictive
          distribution is right. ``held_out`` (time, unit) says which counts the sampler did not see.
        - ``coverage`` (seen, level): share of counts inside the predictive interval, ``pit_share`` (seen,
          pit_bin), the share of transforms in twenty equal bins, ``pit_distance`` (seen), the largest
          distance of their distribution from uniform, and ``n_counts`` (seen). ``seen`` is ``"fitted"`` and,
          where counts were held out, ``"held out"``; the model was fitted to the first, so they flatter it.
        - ``observed`` (statistic, unit), ``replicated`` (statistic, unit), the mean over replicates, and
          ``p_value`` (statistic, unit), the share of replicates with a larger statistic, half of equal ones:
          mean, variance over mean (Fano factor), share of empty bins, largest count, and correlation of
          neighbouring bins. Near 0 or 1 the model does not make such counts.

    References
    ----------
    Czado, Gneiting and Held (2009), Biometrics 65, 1254-1261; Gelman, Meng and Stern (1996), Statistica
    Sinica 6, 733-807, for statistics of replicates.
    """
    if not levels or not all(0 < level < 1 for level in levels):
        raise SettingsError("levels are shares between 0 and 1", found=levels)
    moments = posterior_group(post, "moments", "cdf_below", "cdf_at", what=WHAT)
    below, at = (moments[name].mean("chain").transpose("time", "unit") for name in ("cdf_below", "cdf_at"))
    rng = np.random.default_rng(seed)
    pit = np.clip(maths.randomised_pit(below.to_numpy().astype("float64"), at.to_numpy(), rng), 0.0, 1.0)
    found = xr.Dataset({"pit": below.copy(data=pit)})
    hidden = posterior_group(post, "constant_data", "held_out", what=WHAT)["held_out"]
    found["held_out"] = hidden.transpose("time", "unit")
    found = xr.merge([found, _calibration(pit, found["held_out"].to_numpy(), levels), _statistics(post)])
    return found.assign_attrs(seed=seed)


def _calibration(pit: np.ndarray, hidden: np.ndarray, levels: tuple[float, ...]) -> xr.Dataset:
    groups = {"fitted": pit[~hidden], "held out": pit[hidden]}
    groups = {name: values for name, values in groups.items() if values.size}
    edges = np.linspace(0, 1, PIT_BINS + 1)
    rows = list(groups.values())
    return xr.Dataset(
        {
            "coverage": (
                ("seen", "level"), [[maths.interval_coverage(row, level) for level in levels] for row in rows]
            ),
            "pit_share": (("seen", "pit_bin"), [np.histogram(row, edges)[0] / row.size for row in rows]),
            "pit_distance": ("seen", [maths.distance_from_uniform(row) for row in rows]),
            "n_counts": ("seen", [row.size for row in rows]),
        },
        coords={"seen": list(groups), "level": list(levels), "pit_bin": (edges[:-1] + edges[1:]) / 2},
    )  # fmt: skip


# ---- statistics of replicates -----------------------------------------------------------------------------
def _fano(x: np.ndarray) -> np.ndarray:
    mean = x.mean(axis=-2)
    return np.divide(x.var(axis=-2), mean, out=np.zeros_like(mean), where=mean > 0)


def _neighbours(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-2, keepdims=True)
    size = (centred**2).sum(axis=-2)
    shared = (centred[..., 1:, :] * centred[..., :-1, :]).sum(axis=-2)
    return np.divide(shared, size, out=np.zeros_like(size), where=size > 0)


STATISTICS = {
    "mean": lambda x: x.mean(axis=-2),
    "Fano factor": _fano,
    "empty bins": lambda x: (x == 0).mean(axis=-2),
    "largest count": lambda x: x.max(axis=-2),
    "neighbour correlation": _neighbours,
}


def _statistics(post: xr.DataTree) -> xr.Dataset:
    """Statistics over time (the axis before the last) of every unit, of counts and of replicates."""
    observed = posterior_group(post, "observed_data", "counts", what=WHAT)["counts"].transpose("time", "unit")
    replicates = stacked(posterior_group(post, "posterior_predictive", "counts", what=WHAT)["counts"])
    counts, drawn = (
        array.transpose(..., "time", "unit").to_numpy().astype("float64") for array in (observed, replicates)
    )
    data, model, p_value = [], [], []
    for statistic in STATISTICS.values():
        one, many = statistic(counts), statistic(drawn)
        data.append(one)
        model.append(many.mean(axis=0))
        p_value.append((many > one).mean(axis=0) + 0.5 * (many == one).mean(axis=0))
    dims = ("statistic", "unit")
    return xr.Dataset(
        {"observed": (dims, data), "replicated": (dims, model), "p_value": (dims, p_value)},
        coords={"statistic": list(STATISTICS), "unit": observed["unit"].to_numpy()},
    )
