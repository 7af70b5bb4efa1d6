"""From the arrays of chains to the groups of a posterior, with names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.models.bicluster.record import COUNTED, Record

MAX_INTERVALS = 8
MAX_KEPT_BYTES = 256e6
STATS = ("lp", "log_likelihood", "assign_accept", "latent_accept", "state_accept", *COUNTED)
DIMS: dict[str, tuple[str, ...]] = {
    "unit_cluster": ("unit",),
    "time_state": ("time",),
    "occupancy": ("state",),
    "transition": ("state", "state_to"),
    "dispersion": ("unit",),
    "baseline": ("unit",),
    "loading": ("unit", "component"),
    "log_rate_mean": ("unit",),
    "log_rate_sd": ("unit",),
    "interval_rate": ("unit", "interval"),
}


def intervals(n_time: int) -> np.ndarray:
    """To which of a few equal stretches each bin belongs."""
    n = min(MAX_INTERVALS, n_time)
    return (np.arange(n_time) * n // n_time).astype("int64")


def whole_draws(  # noqa: PLR0917
    draws: int, keep: int, chains: int, n_units: int, n_time: int, latent_dim: int
) -> np.ndarray:
    """Numbers of the draws to keep whole: evenly spaced, the last among them."""
    # replicated counts of 4 bytes, and latents of as many clusters as may be expected
    size = 4 * n_time * (n_units + (latent_dim + 1) * max(2.0, n_units**0.5)) * chains
    n = int(max(1, min(keep, draws, MAX_KEPT_BYTES // size)))
    return np.unique(np.linspace(draws / n, draws, n).round().astype("int64") - 1)


def as_tree(
    records: Sequence[Record], counts: xr.DataArray, held_out: np.ndarray, latent_dim: int
) -> xr.DataTree:
    """All groups of the posterior."""
    first = records[0]
    draw = np.arange(next(iter(first.each.values())).shape[0])
    shared = {str(n): c.variable for n, c in counts.coords.items() if set(c.dims) <= {"time", "unit"}}
    for dim in ("time", "unit"):
        shared.setdefault(dim, xr.Variable(dim, np.arange(counts.sizes[dim])))
    chain = {"chain": np.arange(len(records))}
    groups: dict[str, xr.Dataset] = {
        "posterior": of_draws(records, False).assign_coords({"draw": draw, **chain}),
        "sample_stats": of_draws(records, True).assign_coords({"draw": draw, **chain}),
        **of_whole(records),
        "moments": moments(records).assign_coords(chain),
        "observed_data": xr.Dataset({"counts": counts.astype("int64").drop_vars(counts.coords)}),
        "constant_data": constants(counts, held_out, first.interval),
    }
    groups["observed_data"]["counts"].attrs = {"units": "count"}
    for name in ("thinned", "posterior_predictive"):
        groups[name] = groups[name].assign_coords({"draw": draw[first.kept], **chain})
    named = {}
    for name, group in groups.items():
        for dim in ("state", "state_to", "cluster", "cluster_to", "component", "component_to", "interval"):
            if dim in group.dims:
                begin = 1 if name == "posterior" and dim == "component" else 0
                group = group.assign_coords({dim: np.arange(begin, begin + group.sizes[dim])})
        riding = {n: v for n, v in shared.items() if v.dims and set(v.dims) <= set(group.dims)}
        named[f"/{name}"] = group.assign_coords(riding)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), **named})
    if "bin_width" in counts.attrs:
        tree.attrs["bin_width"] = float(counts.attrs["bin_width"])
    return tree


def of_draws(records: Sequence[Record], stats: bool) -> xr.Dataset:
    """Variables of every draw: those of the model, or those of the sampler."""
    names = [name for name in records[0].each if (name in STATS) == stats]
    return xr.Dataset(
        {
            name: (("chain", "draw", *DIMS.get(name, ())), np.stack([r.each[name] for r in records]))
            for name in names
        }
    )


def of_whole(records: Sequence[Record]) -> dict[str, xr.Dataset]:
    """Latents, dynamics and replicated counts of the draws kept whole, padded where a draw has fewer."""
    both = ("cluster", "cluster_to") if records[0].prior.full else ("cluster",)
    pair = ("state", *both, "component", "component_to")
    thinned = {
        "latent": ("cluster", "time", "component"),
        "matrix": pair,
        "offset": ("state", "cluster", "component"),
        "noise": pair,
    }
    found = {
        name if name == "latent" else f"dynamics_{name}": (("chain", "draw", *dims), padded(records, name))
        for name, dims in thinned.items()
    }
    counts = np.swapaxes(padded(records, "counts"), -1, -2)
    latent = xr.Dataset(found).transpose("chain", "draw", "state", *both, "component", ...)
    return {
        "thinned": latent,
        "posterior_predictive": xr.Dataset(
            {"counts": (("chain", "draw", "time", "unit"), counts, {"units": "count"})}
        ),
    }


def padded(records: Sequence[Record], name: str) -> np.ndarray:
    """Arrays of the draws kept whole in one, (chain, draw, ...), NaN where one has fewer."""
    arrays = [[record.whole[f"{name}.{k}"] for k in range(record.kept.size)] for record in records]
    shape = np.max([[a.shape for a in row] for row in arrays], axis=(0, 1))
    if name == "counts":
        return np.array(arrays)
    out = np.full((len(arrays), len(arrays[0]), *shape), np.nan, dtype="float32")
    for chain, row in enumerate(arrays):
        for draw, a in enumerate(row):
            place: Any = (chain, draw, *map(slice, a.shape))
            out[place] = a
    return out


def moments(records: Sequence[Record]) -> xr.Dataset:
    """Means over all draws, per bin and unit."""
    n = next(iter(records[0].each.values())).shape[0]
    sums = {
        name: np.stack([np.ascontiguousarray(record.sums[name].T) for record in records]) / n
        for name in records[0].sums
    }
    variance = np.maximum(sums["log_rate_square"] - sums["log_rate"] ** 2, 0.0)
    found = {
        "log_rate_mean": sums["log_rate"].astype("float32"),
        "log_rate_sd": np.sqrt(variance).astype("float32"),
        "rate_mean": sums["rate"].astype("float32"),
        "log_prob": np.log(np.maximum(sums["prob"], 1e-304)),
        "cdf_below": np.minimum(sums["below"], 1.0).astype("float32"),
        "cdf_at": np.minimum(sums["below"] + sums["prob"], 1.0).astype("float32"),
    }
    return xr.Dataset({name: (("chain", "time", "unit"), values) for name, values in found.items()})


def constants(counts: xr.DataArray, held_out: np.ndarray, interval: np.ndarray) -> xr.Dataset:
    """What was held out, and where the stretches of time begin and end."""
    time = counts["time"].to_numpy() if "time" in counts.coords else np.arange(counts.sizes["time"])
    first = np.flatnonzero(np.diff(interval, prepend=-1))
    last = np.append(first[1:], interval.size) - 1
    width = float(counts.attrs.get("bin_width", np.median(np.diff(time))))
    return xr.Dataset(
        {
            "held_out": (("time", "unit"), held_out),
            "interval_start": ("interval", time[first].astype("float64"), {"units": "s"}),
            "interval_stop": ("interval", time[last].astype("float64") + width, {"units": "s"}),
        }
    )
