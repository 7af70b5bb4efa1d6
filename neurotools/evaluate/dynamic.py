"""When motifs are active, and which communities they bring together then."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate.motifs import motif
from neurotools.numerics import intervals
from neurotools.schema import SPACE_DIMS, check_time, space_dim

DEGREE = {"geomean": 1, "min": 1, "anti": 1, "lagged": 1, "product": 2}  # in slopes, of kernels
TAKES_PART = 0.5  # of the largest subject loading of a component


def dynamic_connectome(
    fit: xr.Dataset,
    communities: xr.Dataset,
    *,
    threshold: float | None = None,
    min_pause_s: float = 0.0,
    smooth_s: float | None = None,
) -> xr.Dataset:
    """Say when each motif is active and which communities it has: communities over time.

    A motif is active while its time loading lies above a threshold, less what smoothing carries over the
    edges; an interval is an unbroken run of active samples. No interval crosses the edge of a session, nor a
    pause in the clock.

    Parameters
    ----------
    fit : xarray.Dataset
        Of ``nt.NTF``: ``time_loading`` (component, time), and ``motif`` or ``unit_loading``.
    communities : xarray.Dataset
        Of ``nt.BlockModel`` on the motifs of that fit. A label of -1 is of no community.
    threshold : float, optional
        Fraction of each component's largest loading, from 0 to below 1. By default each component has its
        own threshold, which divides the square roots of its loadings into a low and a high class whose means
        lie furthest apart (Otsu 1979, IEEE Transactions on Systems, Man, and Cybernetics 9, eq. 12, over
        every possible division); roots, because a loading varies in proportion to its size, and the method
        takes both classes to spread alike. Of such intervals only those count that somewhere also exceed the
        threshold of the loadings themselves (hysteresis: Canny 1986, IEEE Transactions on Pattern Analysis
        and Machine Intelligence 8, 679-698). A motif whose loading never changes is active throughout, one
        that is zero never.
    min_pause_s : float, in s
        Pauses of a motif that are shorter than this do not end its interval: slopes cross zero whenever a
        trace turns, which takes a smoothing width or two.
    smooth_s : float, optional, in s
        Width of the smoothing of the slopes; the fit's own when omitted. Smoothed slopes exceed a low
        threshold before activity begins and after it ends: at a third of their usual size, by 1.6 widths
        (``neurotools.numerics.intervals.overhang``). So much is taken off both ends of every interval, but
        nothing above 0.71 of the interval's peak. Zero leaves the ends where the threshold is crossed, as
        they are for kernels of levels or windows.

    Returns
    -------
    xarray.Dataset
        ``active`` (component, time); ``threshold`` (component), in units of the loading; ``overhang``
        (component; s), what was taken off both ends of its intervals;
        ``interval_start``, ``interval_stop`` (interval; s; the last active sample plus one step),
        ``interval_component``, ``interval_loading`` (mean), ``interval_peak`` (largest); intervals in order
        of component and time. ``label`` and ``isolated`` (component, unit) as in ``communities``;
        ``n_members`` and ``within_weight`` (component, community): how many units, and their mean motif
        weight among one another (0 for a single one). With several subjects ``subject_loading`` and
        ``takes_part`` (component, subject): at least half of the largest loading.

    Raises
    ------
    SchemaError
        The fit has no time loadings or no clock, or the communities are not of its components and units.
    """
    loading = loading_of(fit)
    values, time = loading.to_numpy().astype(float), loading["time"].to_numpy().astype(float)
    label = _labels(communities, loading["component"])
    limits = np.array([thresholds_of(row, threshold) for row in values]).T
    active, over, follows, steps = active_of(fit, loading, limits, min_pause_s, smooth_s)
    component, first, last = intervals.runs(active, follows)
    coords = {str(n): c for n, c in loading.coords.items() if set(map(str, c.dims)) <= {"component", "time"}}
    variables = {
        "active": (("component", "time"), active),
        "threshold": ("component", limits[0]),
        "overhang": ("component", over, {"units": "s"}),
        "interval_start": ("interval", time[first], {"units": "s"}),
        "interval_stop": ("interval", time[last] + steps[last], {"units": "s"}),
        "interval_component": ("interval", loading["component"].to_numpy()[component]),
        "interval_loading": ("interval", _over(np.mean, values, component, first, last)),
        "interval_peak": ("interval", _over(np.max, values, component, first, last)),
    }
    result = xr.Dataset(
        variables, coords=coords | {"interval": np.arange(first.size)}, attrs=made_with(fit, smooth_s)
    )
    return xr.merge(
        [result, _members(fit, communities, label), _subjects(fit)], join="exact", combine_attrs="override"
    )


# ---- reading what is given ------------------------------------------------------------------------------
def loading_of(fit: xr.Dataset) -> xr.DataArray:
    """Time loadings (component, time), on a clock and finite."""
    if not isinstance(fit, xr.Dataset) or "time_loading" not in fit:
        raise SchemaError(
            "a fit with 'time_loading' is needed",
            found=sorted(map(str, fit.data_vars)) if isinstance(fit, xr.Dataset) else type(fit).__name__,
            fix="fit = nt.NTF(rank=8).fit(affinity)",
        )
    loading = fit["time_loading"].transpose("component", "time")
    if "time" not in loading.coords or loading.sizes["time"] < 2:
        raise SchemaError(
            "the time loadings need at least two samples and the coordinate 'time' in seconds",
            code="NT-DATA-004", found=f"{loading.sizes['time']} samples",
        )  # fmt: skip
    check_time(loading["time"].to_numpy(), "the time loadings")
    if not np.isfinite(loading.to_numpy()).all():
        raise SchemaError("the time loadings have values that are not finite", code="NT-DATA-003")
    if "component" not in loading.coords:
        loading = loading.assign_coords(component=np.arange(loading.sizes["component"]))
    return loading


def _labels(communities: xr.Dataset, component: xr.DataArray) -> xr.DataArray:
    if not isinstance(communities, xr.Dataset) or "label" not in communities:
        raise SchemaError(
            "communities with 'label' are needed", fix="communities = nt.BlockModel().fit(nt.motif(fit))"
        )
    label = communities["label"]
    label = label.isel(level=0, drop=True) if "level" in label.dims else label
    if "component" not in label.dims:
        label = label.drop_vars("component", errors="ignore").expand_dims(component=component.to_numpy())
    if "component" not in label.coords and label.sizes["component"] == component.size:
        label = label.assign_coords(component=component)
    if not np.array_equal(label["component"].to_numpy(), component.to_numpy()):
        raise SchemaError(
            "the communities are of other components than the fit",
            code="NT-DATA-005", found=label["component"].to_numpy().tolist(),
            expected=component.to_numpy().tolist(), fix="nt.BlockModel().fit(nt.motif(fit))",
        )  # fmt: skip
    return label.transpose("component", space_dim(label))


def sessions_of(loading: xr.DataArray) -> np.ndarray:
    """Session of every moment."""
    if "session" in loading.coords and loading["session"].dims == ("time",):
        return loading["session"].to_numpy()
    return np.zeros(loading.sizes["time"], dtype=int)


# ---- when a motif is active -----------------------------------------------------------------------------
def thresholds_of(values: np.ndarray, fraction: float | None) -> tuple[float, float]:
    """Level above which a motif counts as active, and one that each interval rises above somewhere."""
    if fraction is None:
        level = intervals.root_threshold(values)
        return level, max(level, intervals.otsu_threshold(values))
    if not 0 <= fraction < 1:
        raise SettingsError(
            "threshold is a fraction of the largest loading", found=fraction, expected="0 <= threshold < 1"
        )
    return (float(fraction * values.max()),) * 2


def overhang_s(values: np.ndarray, level: float, fit: xr.Dataset, smooth_s: float | None) -> float:
    """Seconds by which smoothing carries a motif's loading over ``level`` beyond the edges of its activity.

    By the mean of the loadings above the level, which is how large they usually are; zero where the slopes
    were not smoothed, or the affinity is not that of slopes.
    """
    width = float(fit.attrs.get("smooth_s", 0.0)) if smooth_s is None else smooth_s
    if not 0 <= width < np.inf:
        raise SettingsError("smooth_s is a width in seconds, at least 0", found=smooth_s)
    degree = DEGREE.get(str(fit.attrs.get("kernel")))
    if width == 0 or degree is None or not (values > level).any():
        return 0.0
    return width * intervals.overhang((level / values[values > level].mean()) ** (1.0 / degree))


def made_with(fit: xr.Dataset, smooth_s: float | None) -> dict[str, float | str]:
    """What the ends of intervals depend on, for whoever cuts other loadings by the same rule."""
    made = {name: fit.attrs[name] for name in ("kernel", "smooth_s") if name in fit.attrs}
    return made if smooth_s is None else made | {"smooth_s": float(smooth_s)}


def active_of(
    fit: xr.Dataset, loading: xr.DataArray, limits: np.ndarray, min_pause_s: float, smooth_s: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Active samples (component, time), seconds taken off each end, and what follows what at which step."""
    if not 0 <= min_pause_s < np.inf:
        raise SettingsError("min_pause_s is a time in seconds, at least 0", found=min_pause_s)
    level, peak = limits
    values, time = loading.to_numpy().astype(float), loading["time"].to_numpy().astype(float)
    follows, steps = intervals.runs_of_clock(time, sessions_of(loading))
    active = intervals.without_pauses(values > level[:, None], follows, steps, min_pause_s)
    active = intervals.reaching(active, follows, values, peak)
    over = np.array([overhang_s(row, at, fit, smooth_s) for row, at in zip(values, level, strict=True)])
    samples = np.rint(over[:, None] / steps).astype(np.int64)
    return intervals.without_overhang(active, follows, values, samples), over, follows, steps


def _over(
    reduce, values: np.ndarray, component: np.ndarray, first: np.ndarray, last: np.ndarray
) -> np.ndarray:
    spans = zip(component, first, last, strict=True)
    return np.array([reduce(values[k, a : b + 1]) for k, a, b in spans], dtype=float)


# ---- who belongs together -------------------------------------------------------------------------------
def _members(fit: xr.Dataset, communities: xr.Dataset, label: xr.DataArray) -> xr.Dataset:
    dim = space_dim(label)
    labels = label.to_numpy().astype(int)
    n_communities = max(int(labels.max()) + 1, 1)
    belongs = (labels[:, :, None] == np.arange(n_communities)).astype(float)  # -1 belongs nowhere
    n_members = belongs.sum(axis=1)
    variables = {
        "label": label,
        "n_members": (("component", "community"), n_members.astype(int)),
    }
    inside = _weight_inside(fit, label, belongs, dim)
    if inside is not None:
        pairs = n_members * (n_members - 1)
        variables["within_weight"] = (("component", "community"), inside / np.maximum(pairs, 1))
    if "isolated" in communities:
        variables["isolated"] = communities["isolated"].broadcast_like(label).transpose("component", dim)
    return xr.Dataset(variables, coords={"community": np.arange(n_communities)})


def _weight_inside(fit: xr.Dataset, label: xr.DataArray, belongs: np.ndarray, dim: str) -> np.ndarray | None:
    """Summed motif weight among the members of each community, (component, community), both ways."""
    if "motif" in fit:
        matrix = motif(fit).transpose("component", dim, f"{dim}_to")
        _check_same_units(matrix, label, dim)
        return np.einsum("kic,kij,kjc->kc", belongs, matrix.to_numpy(), belongs, optimize=True)
    if "unit_loading" not in fit:
        return None
    leads = fit["unit_loading"].transpose("component", "part", dim, missing_dims="ignore")
    follows = fit["unit_to_loading"].rename({f"{dim}_to": dim}) if "unit_to_loading" in fit else leads
    _check_same_units(leads, label, dim)
    first = leads.to_numpy().reshape(leads.sizes["component"], -1, leads.sizes[dim])
    second = follows.to_numpy().reshape(first.shape)
    # Of an outer product: the product of two sums less the diagonal; the matrix of all pairs is never made.
    with_itself = np.einsum("kpi,kic->kc", first * second, belongs)
    return ((first @ belongs) * (second @ belongs)).sum(axis=1) - with_itself


def _check_same_units(matrix: xr.DataArray, label: xr.DataArray, dim: str) -> None:
    same = matrix.sizes[dim] == label.sizes[dim]
    if same and dim in matrix.coords and dim in label.coords:
        same = bool(np.array_equal(matrix[dim].to_numpy(), label[dim].to_numpy()))
    if not same:
        raise SchemaError(
            f"the communities are of other {dim}s than the fit", code="NT-DATA-005",
            fix="nt.BlockModel().fit(nt.motif(fit))",
        )  # fmt: skip


def _subjects(fit: xr.Dataset) -> xr.Dataset:
    if "subject_loading" not in fit:
        return xr.Dataset()
    loading = fit["subject_loading"].transpose("component", "subject")
    return xr.Dataset({
        "subject_loading": loading,
        "takes_part": (loading > 0) & (loading >= TAKES_PART * loading.max("subject")),
    })  # fmt: skip


# ---- as a table -----------------------------------------------------------------------------------------
def connectome_table(dataset: xr.Dataset) -> pd.DataFrame:
    """One row per interval and community: when, in which motif, how many and which units.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of ``nt.dynamic_connectome``.

    Returns
    -------
    pandas.DataFrame
        Columns ``interval``, ``component``, ``start_s``, ``stop_s``, ``duration_s``, ``mean_loading``,
        ``community``, ``n_members``, ``within_weight``, ``members`` (labels with a comma between), and
        ``subjects`` where there are several. Ordered by start.
    """
    if not isinstance(dataset, xr.Dataset) or "interval_start" not in dataset:
        raise SchemaError(
            "a dynamic connectome is needed", fix="dataset = nt.dynamic_connectome(fit, communities)"
        )
    intervals = pd.DataFrame({
        "interval": dataset["interval"].to_numpy(),
        "component": dataset["interval_component"].to_numpy(),
        "start_s": dataset["interval_start"].to_numpy(),
        "stop_s": dataset["interval_stop"].to_numpy(),
    })  # fmt: skip
    intervals["duration_s"] = intervals["stop_s"] - intervals["start_s"]
    intervals["mean_loading"] = dataset["interval_loading"].to_numpy()
    table = intervals.merge(_community_table(dataset), on="component", how="left", validate="many_to_many")
    if "takes_part" in dataset:
        table["subjects"] = table["component"].map(_subject_names(dataset))
    return table.sort_values(["start_s", "component", "community"], ignore_index=True)


def _community_table(dataset: xr.Dataset) -> pd.DataFrame:
    label = dataset["label"]
    dim = next(str(name) for name in label.dims if name in SPACE_DIMS)
    names = (
        label[dim].to_numpy().astype(str) if dim in label.coords else np.arange(label.sizes[dim]).astype(str)
    )
    rows = []
    for k, component in enumerate(dataset["component"].to_numpy()):
        labels = label.isel(component=k).to_numpy()
        for community in range(int(labels.max()) + 1):
            member = labels == community
            row = {"component": component, "community": community, "n_members": int(member.sum())}
            if "within_weight" in dataset:
                row["within_weight"] = float(dataset["within_weight"][k, community])
            rows.append(row | {"members": ", ".join(names[member])})
    return pd.DataFrame(rows)


def _subject_names(dataset: xr.Dataset) -> dict[object, str]:
    part = dataset["takes_part"].transpose("component", "subject")
    names = (
        part["subject"].to_numpy() if "subject" in part.coords else np.arange(part.sizes["subject"])
    ).astype(str)
    return {
        component: ", ".join(names[row])
        for component, row in zip(part["component"].to_numpy(), part.to_numpy(), strict=True)
    }
