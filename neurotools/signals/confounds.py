"""Which columns of a table of confounds to remove, and which volumes to leave out."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.schema import Schema
from neurotools.schema.affinity import session_edges

TABLE = Schema("a table of confounds", dims=("time", "feature"), allow_nan=True)
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
# What each model adds to a signal: its derivative, its square, the square of its derivative.
EXPANSIONS = {
    "basic": ("",),
    "derivatives": ("", "_derivative1"),
    "power2": ("", "_power2"),
    "full": ("", "_derivative1", "_power2", "_derivative1_power2"),
}
# Prefix and mask of the components; old tables tell white matter from CSF by the sidecar, new ones by prefix.
COMPCOR = {
    "anat_combined": (("a", "combined"),),
    "anat_separated": (("a", "WM"), ("a", "CSF"), ("w", None), ("c", None)),
    "temporal": (("t", None),),
    "temporal_anat_combined": (("t", None), ("a", "combined")),
    "temporal_anat_separated": (("t", None), ("a", "WM"), ("a", "CSF"), ("w", None), ("c", None)),
}
AROMA = ("basic", "full")


@dataclass(frozen=True, kw_only=True)
class ConfoundStrategy:
    """Which confounds of an fMRIPrep table to remove; a part that is None or False is left alone.

    ``motion``, ``wm_csf`` and ``global_signal`` take ``"basic"``, ``"derivatives"``, ``"power2"`` or
    ``"full"`` (Friston 1996: 24 motion parameters). ``compcor`` takes ``"anat_combined"``,
    ``"anat_separated"``, ``"temporal"`` or a pair of them (Behzadi 2007), with the first ``n_compcor``
    components of each mask (all when None). ``ica_aroma="basic"`` takes the components that ICA-AROMA calls
    motion; ``"full"`` takes none and needs the image that AROMA has cleaned. ``scrub`` says that volumes are
    left out by motion, by thresholds that the caller gives.
    """

    high_pass: bool = False
    motion: str | None = None
    wm_csf: str | None = None
    global_signal: str | None = None
    compcor: str | None = None
    n_compcor: int | None = None
    ica_aroma: str | None = None
    scrub: bool = False
    demean: bool = True


# Ciric et al. (2017), NeuroImage 154:174; Wang et al. (2024), PLoS Comput Biol 20:e1011942.
STRATEGIES = {
    "simple": ConfoundStrategy(high_pass=True, motion="full", wm_csf="basic"),
    "scrubbing": ConfoundStrategy(high_pass=True, motion="full", wm_csf="full", scrub=True),
    "compcor": ConfoundStrategy(high_pass=True, motion="full", compcor="anat_combined"),
    "ica_aroma": ConfoundStrategy(high_pass=True, wm_csf="basic", ica_aroma="full"),
}


def confounds(
    recording: xr.DataTree | xr.DataArray,
    strategy: str | ConfoundStrategy = "simple",
    *,
    fd_threshold: float | None = None,
    std_dvars_threshold: float | None = None,
    min_segment: int | None = None,
) -> xr.Dataset:
    """Choose the confounds to remove, and the volumes to keep, from a table that fMRIPrep wrote.

    Equal to ``nilearn.interfaces.fmriprep.load_confounds`` in columns, values and kept volumes.

    Parameters
    ----------
    recording : xarray.DataTree or xarray.DataArray
        With a node ``confounds``, or the table (time, feature) itself.
    strategy : {"simple", "scrubbing", "compcor", "ica_aroma"} or ConfoundStrategy
    fd_threshold : float, optional
        Framewise displacement in mm above which a volume is left out. No default: it is a choice.
    std_dvars_threshold : float, optional
        Standardised DVARS above which a volume is left out; ``float("inf")`` for none.
    min_segment : int, optional
        Stretches of fewer volumes between those left out are left out too; 0 for none. The three go together.

    Returns
    -------
    xarray.Dataset
        ``confounds(time, feature)`` in alphabetical order, for all volumes, and ``kept(time)``: False for
        volumes before the steady state and volumes left out by motion. attrs say how many and why, and in how
        many columns the NaN of the first row (a derivative has no value there) was given the value of the
        second.

    Raises
    ------
    SchemaError
        The table lacks a column of the strategy, or has NaN anywhere but in the first row.
    SettingsError
        A part of the strategy is unknown; thresholds are missing.
    """
    table = _table(recording)
    chosen = lookup("strategy", strategy, STRATEGIES) if isinstance(strategy, str) else strategy
    limits = _limits(chosen, fd_threshold, std_dvars_threshold, min_segment)
    if chosen.ica_aroma == "full":
        _refuse_without_aroma(recording)
    names = _columns(table, chosen)
    steady = _steady(table)
    still = _still(table, *limits) if limits else np.ones(table.sizes["time"], dtype=bool)
    kept = steady & still
    values, n_first = _first_rows(table.sel(feature=names))
    if chosen.demean and kept.any():
        values = values - values[kept].mean(axis=0)
    picked = table.sel(feature=names).copy(data=values)
    result = picked.to_dataset(name="confounds").assign(kept=("time", kept))
    result.attrs = {
        "strategy": json.dumps(dataclasses.asdict(chosen), sort_keys=True),
        **(
            {"fd_threshold": limits[0], "std_dvars_threshold": limits[1], "min_segment": limits[2]}
            if limits
            else {}
        ),
        "n_volumes": kept.size,
        "n_kept": int(kept.sum()),
        "n_not_steady": int((~steady).sum()),
        "n_motion": int((steady & ~still).sum()),
        "n_first_row_from_second": n_first,
    }
    return result


def _table(recording: xr.DataTree | xr.DataArray) -> xr.DataArray:
    if isinstance(recording, xr.DataTree):
        if "confounds" not in recording.children or "confounds" not in recording["confounds"].data_vars:
            raise SchemaError(
                "the recording has no confounds",
                code="NT-DATA-010", found="nodes " + ", ".join(recording.children),
                fix="keep the fMRIPrep table beside the image, or nt.with_confounds(recording, path)",
            )  # fmt: skip
        return TABLE.require(recording["confounds/confounds"])
    return TABLE.require(recording)


def _limits(
    chosen: ConfoundStrategy, fd: float | None, dvars: float | None, segment: int | None
) -> tuple[float, float, int] | None:
    given = {"fd_threshold": fd, "std_dvars_threshold": dvars, "min_segment": segment}
    missing = [name for name, value in given.items() if value is None]
    if (chosen.scrub and missing) or 0 < len(missing) < 3:
        raise SettingsError(
            "leaving out volumes by motion needs all three limits, chosen by you",
            code="NT-SET-002", found="missing: " + ", ".join(missing),
            fix="for example fd_threshold=0.5, std_dvars_threshold=1.5, min_segment=5",
        )  # fmt: skip
    if fd is None or dvars is None or segment is None:
        return None
    if not (fd >= 0 and dvars >= 0 and segment >= 0):
        raise SettingsError("limits of scrubbing are not negative", found=given)
    return float(fd), float(dvars), int(segment)


def _refuse_without_aroma(recording: xr.DataTree | xr.DataArray) -> None:
    source = str(recording.attrs.get("source", "")) if isinstance(recording, xr.DataTree) else ""
    if isinstance(recording, xr.DataTree) and "fmri" in recording.children and "AROMA" not in source:
        raise SchemaError(
            'ica_aroma="full" needs the image that AROMA has cleaned',
            code="NT-FILE-008", found=source or "an image of unknown name",
            expected="a file named ...desc-smoothAROMAnonaggr_bold.nii.gz",
            fix='load that image, or use ica_aroma="basic" on this one',
        )  # fmt: skip


# ---- columns ----------------------------------------------------------------------------------------
def _columns(table: xr.DataArray, chosen: ConfoundStrategy) -> list[str]:
    features = [str(name) for name in table["feature"].to_numpy()]
    wanted: list[str] = []
    for part, signals in (
        ("motion", MOTION),
        ("wm_csf", ("csf", "white_matter")),
        ("global_signal", ("global_signal",)),
    ):
        model = getattr(chosen, part)
        if model is not None:
            wanted += [
                f"{name}{end}" for end in lookup(f"{part} model", model, EXPANSIONS) for name in signals
            ]
    if chosen.high_pass:
        wanted += [name for name in features if name.startswith("cosine")]
    if chosen.compcor is not None:
        wanted += _components(table, features, chosen)
    if chosen.ica_aroma is not None:
        lookup("use of ICA-AROMA", chosen.ica_aroma, dict.fromkeys(AROMA))
        wanted += _aroma(features) if chosen.ica_aroma == "basic" else []
    missing = [name for name in wanted if name not in features]
    if missing:
        raise SchemaError(
            "the table lacks confounds of this strategy",
            code="NT-DATA-005", where=str(table.attrs.get("table", "confounds")),
            found=f"{len(missing)} of {len(wanted)} missing: " + ", ".join(missing[:8]),
            fix="choose a strategy that the table supports, or run fMRIPrep (from 1.4 on) with these outputs",
        )  # fmt: skip
    return sorted(wanted)


def _components(table: xr.DataArray, features: list[str], chosen: ConfoundStrategy) -> list[str]:
    if not chosen.high_pass:
        raise SettingsError(
            "CompCor components are computed from filtered data, so high_pass must be removed too",
            code="NT-SET-003", fix="ConfoundStrategy(high_pass=True, compcor=...)",
        )  # fmt: skip
    parts = lookup("kind of CompCor", str(chosen.compcor), COMPCOR)
    masks = (
        dict(zip(features, table["mask"].to_numpy().tolist(), strict=True)) if "mask" in table.coords else {}
    )
    if any(mask for _, mask in parts) and not any(masks.values()):
        raise SchemaError(
            "anatomical CompCor needs the sidecar of the table, which says the mask of each component",
            code="NT-FILE-008", found="no sidecar with masks",
            expected="a .json beside the .tsv (fMRIPrep from 1.4 on)",
        )  # fmt: skip
    picked: list[str] = []
    for prefix, mask in parts:
        own = [
            name
            for name in features
            if re.fullmatch(rf"{prefix}_comp_cor_\d+", name) and (mask is None or masks[name] == mask)
        ]
        picked += own[: chosen.n_compcor]
    if not picked:
        raise SchemaError(
            "the table has no CompCor components of this kind", code="NT-DATA-010", found=chosen.compcor
        )
    return picked


def _aroma(features: list[str]) -> list[str]:
    named = [name for name in features if "aroma" in name]
    if not named:
        raise SchemaError(
            "the table has no components of ICA-AROMA", code="NT-DATA-010", fix='leave out ica_aroma="basic"'
        )
    return named


def _first_rows(picked: xr.DataArray) -> tuple[np.ndarray, int]:
    """Values with the NaN of each session's first row replaced by the second row, and in how many columns."""
    values = picked.to_numpy().astype("float64", copy=True)
    filled = np.zeros(values.shape[1], dtype=bool)
    for start in session_edges(picked)[:-1]:
        empty = np.isnan(values[start])
        if start + 1 < len(values):
            values[start, empty] = values[start + 1, empty]
        filled |= empty
    bad = ~np.isfinite(values).all(axis=0)
    if bad.any():
        names = picked["feature"].to_numpy()[bad]
        raise SchemaError(
            "confounds are not finite beyond the first row",
            code="NT-DATA-003", found=f"{bad.sum()} columns: " + ", ".join(map(str, names[:8])),
            fix="leave these columns out of the strategy",
        )  # fmt: skip
    return values, int(filled.sum())


# ---- volumes ----------------------------------------------------------------------------------------
def _steady(table: xr.DataArray) -> np.ndarray:
    flags = [name for name in table["feature"].to_numpy() if str(name).startswith("non_steady_state")]
    return np.logical_not((table.sel(feature=flags).to_numpy() > 0).any(axis=1))


def _still(table: xr.DataArray, fd_limit: float, dvars_limit: float, min_segment: int) -> np.ndarray:
    """Volumes below both limits, in stretches of at least ``min_segment`` (Power et al. 2014)."""
    features = set(map(str, table["feature"].to_numpy()))
    missing = {"framewise_displacement", "std_dvars"} - features
    if missing:
        raise SchemaError(
            "the table lacks what scrubbing needs",
            code="NT-DATA-005",
            found="no " + ", ".join(sorted(missing)),
        )
    fd, dvars = (table.sel(feature=name).to_numpy() for name in ("framewise_displacement", "std_dvars"))
    # NaN in the first row (no volume before it) compares as still.
    still = ~((fd > fd_limit) | (dvars > dvars_limit))
    for start, stop in itertools.pairwise(session_edges(table)):
        part = still[start:stop]
        if part.all():
            continue
        turns = np.flatnonzero(np.diff(np.concatenate([[0], part.astype("int8"), [0]])))
        for first, last in zip(turns[::2], turns[1::2], strict=True):
            if last - first < min_segment:
                part[first:last] = False
    return still
