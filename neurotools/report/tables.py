"""Tables of a report: motifs, communities, intervals, and what a recording holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.plot.reading import components, labels_of, motif_matrix
from neurotools.report.methods import unit_word
from neurotools.report.summary import Results
from neurotools.schema import validate


def motif_table(results: Results) -> pd.DataFrame:
    """One row per motif: weight, communities, and how long it is active."""
    fit, names = results.fit, components(results.fit)
    loading = fit["time_loading"].transpose("component", "time")
    table = pd.DataFrame({"motif": names})
    if "weight" in fit:
        weight = fit["weight"].to_numpy()
        table["weight (a.u.)"] = weight
        table["share of weights (%)"] = 100 * weight / weight.sum() if weight.sum() > 0 else np.nan
    table["peak at (s)"] = fit["time"].to_numpy()[loading.to_numpy().argmax(axis=1)]
    if results.connectome is not None:
        active = results.connectome["active"].sel(component=names).transpose("component", "time").to_numpy()
        owner = results.connectome["interval_component"].to_numpy()
        table["active (s)"] = active.astype(bool).sum(axis=1) * results.step_s
        table["intervals"] = [int((owner == name).sum()) for name in names]
    if results.communities is not None:
        table["communities"] = [results.n_communities(name) for name in names]
    if results.null is not None:
        table["strength over chance"] = results.null["ratio"].to_numpy()
        table["p, corrected"] = results.null["p_corrected"].to_numpy()
    if results.saved is not None and "all" not in results.saved:
        table["saved over one block (nats)"] = [results.saved.get(name, np.nan) for name in names.tolist()]
    return table


def condition_table(conditions: xr.Dataset) -> pd.DataFrame:
    """One row per motif: its mean loading in every condition, and the test."""
    mean = conditions["mean"].transpose("component", "condition")
    table = pd.DataFrame({"motif": mean["component"].to_numpy()})
    for name in mean["condition"].to_numpy():
        table[f"mean, {name}"] = mean.sel(condition=name).to_numpy()
    table["F"] = conditions["statistic"].to_numpy()
    table["p"] = conditions["p_value"].to_numpy()
    table["p, corrected"] = conditions["p_corrected"].to_numpy()
    return table


def uncertainty_table(results: Results) -> pd.DataFrame:
    """One row per motif: how alike it is over resampled data, how firm intervals and communities are."""
    held = results.uncertainty
    assert held is not None
    table = pd.DataFrame({"motif": components(results.fit)})
    if "similarity" in held:
        table["similarity to the fit"] = held["similarity"].mean("replicate").to_numpy()
    if "edge_sd" in held and "edge_mean" in held:
        dims = [dim for dim in held["edge_sd"].dims if dim != "component"]
        spread, size = ((held[name] ** 2).sum(dims) for name in ("edge_sd", "edge_mean"))
        table["spread of edges (% of size)"] = 100 * np.sqrt((spread / size).to_numpy())
    if "interval_support" in held and results.connectome is not None:
        owner = results.connectome["interval_component"].to_numpy()
        support = held["interval_support"].to_numpy()
        means = [support[owner == name] for name in components(results.fit)]
        table["intervals found again (%)"] = [100 * one.mean() if one.size else np.nan for one in means]
    if "n_blocks" in held:
        blocks = held["n_blocks"].transpose("replicate", "component").to_numpy()
        table["communities (5 to 95 %)"] = [
            f"{low:.0f} to {high:.0f}" for low, high in np.quantile(blocks, (0.05, 0.95), axis=0).T
        ]
    return table


def interval_table(connectome: xr.Dataset) -> pd.DataFrame:
    """One row per interval in which a motif is active."""
    start, stop = connectome["interval_start"].to_numpy(), connectome["interval_stop"].to_numpy()
    columns = {
        "start (s)": start,
        "stop (s)": stop,
        "duration (s)": stop - start,
        "motif": connectome["interval_component"].to_numpy(),
    }
    if "interval_peak" in connectome:
        columns["largest loading (a.u.)"] = connectome["interval_peak"].to_numpy()
    return pd.DataFrame(columns).sort_values(["start (s)", "motif"], ignore_index=True)


def community_table(results: Results) -> pd.DataFrame:
    """One row per community of each motif, the strongest first, with its members."""
    assert results.communities is not None
    unit, rows = unit_word(results.fit), []
    for name in components(results.fit):
        matrix = motif_matrix(results.fit, name)
        units, row = matrix[unit].to_numpy(), np.nan_to_num(matrix.to_numpy()).sum(axis=1)
        labels = labels_of(results.communities, name, units)
        total = row.sum() or 1.0
        for label in sorted(set(labels.tolist()), key=lambda k: -row[labels == k].mean()):
            inside = labels == label
            rows.append(
                {
                    "motif": name,
                    "community": "none" if label < 0 else label,
                    f"{unit}s": int(inside.sum()),
                    "strength (%)": 100 * row[inside].sum() / total,
                    "members": ", ".join(map(str, units[inside])),
                }
            )
    return pd.DataFrame(rows)


def node_table(recording: xr.DataTree) -> pd.DataFrame:
    """One row per variable of a recording: its dimensions, unit and clock."""
    rows = []
    for node in recording.subtree:
        dataset = node.to_dataset(inherit=False)
        time = dataset["time"].to_numpy() if "time" in dataset.coords else np.empty(0)
        step = float(np.median(np.diff(time))) if time.size > 1 else float("nan")
        for name, array in dataset.data_vars.items():
            clocked = "time" in array.dims and time.size > 1
            rows.append(
                {
                    "variable": f"{node.path.strip('/')}/{name}",
                    "shape": " x ".join(f"{size:,} {dim}" for dim, size in array.sizes.items())
                    or "single value",
                    "unit": str(array.attrs.get("units", "–")),
                    "rate (Hz)": 1 / step if clocked else float("nan"),
                    "duration (s)": time[-1] - time[0] + step if clocked else float("nan"),
                }
            )
    return pd.DataFrame(rows, columns=["variable", "shape", "unit", "rate (Hz)", "duration (s)"])


def finding_table(recording: xr.DataTree) -> pd.DataFrame:
    """Everything that the validator found."""
    columns = ["level", "code", "where", "problem", "found", "fix"]
    rows = [{name: getattr(finding, name) or "" for name in columns} for finding in validate(recording)]
    return pd.DataFrame(rows, columns=columns)
