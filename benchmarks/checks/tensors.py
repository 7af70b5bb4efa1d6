"""Components of labelled tensors of real recordings: a known evoked potential, and a story many heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.record import Row, shared

PARIETAL = ("P3", "Pz", "P4", "CPz", "PO3", "PO4")
REGIONS = ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")


def known_tensors() -> list[Row]:
    """Averages of a visual oddball (three subjects), and region series of sixteen listeners."""
    return [*oddball(), *story()]


# ---- evoked potentials ----------------------------------------------------------------------------------
def oddball() -> list[Row]:
    """Look for a late, parietal component of the target in CP of rank 3 (subject, condition, channel, time).

    Fixed beforehand: subjects and conditions non-negative, ten starts; late is 0.3 to 0.6 s; a component is
    parietal when three of its eight largest channels are.
    """
    x = evoked()
    model = nt.TensorModel(
        "cp", 3, nonnegative=("subject", "condition"), n_restarts=10, max_iter=500, tol=1e-7
    )
    fit = model.fit(x)
    rows, found = [], 0
    for r in fit["component"].to_numpy():
        one = fit.sel(component=r)
        late = one["time_loading"].sel(time=slice(0.3, 0.6))
        share = float((late**2).sum())
        map_ = np.sign(float(late.mean())) * one["channel_loading"]
        largest = map_["channel"].to_numpy()[np.argsort(-map_.to_numpy())][:8]
        n_parietal = len(set(PARIETAL) & set(largest))
        target, other = one["condition_loading"].to_numpy()
        found += bool(share > 0.5 and n_parietal >= 3 and target > other)
        rows.append(Row(
            f"oddball, component {r}: target over non-target", float(target / max(other, 1e-12)),
            note=f"share of time course from 0.3 to 0.6 s {share:.2f}; {n_parietal} of 8 largest parietal",
        ))  # fmt: skip
    return [
        Row("oddball: components that are late, parietal and larger for the target", float(found), ">= 1"),
        *rows,
        Row("oddball: share of the squared norm explained", model.score(fit, x)),
    ]


def evoked() -> xr.DataArray:
    """Averages (subject, condition, channel, time) in microvolts: target, then non-target."""
    import mne

    folder = shared("data/eeg_erpcore_p3_evoked")
    subjects = []
    for path in sorted(folder.glob("*_ave.fif")):
        pieces = mne.read_evokeds(path, verbose="error")[:2]
        subjects.append(np.stack([1e6 * piece.data for piece in pieces]))
    coords = {"condition": ["target", "non-target"], "channel": pieces[0].ch_names, "time": pieces[0].times}
    return xr.DataArray(np.stack(subjects), coords, ("subject", "condition", "channel", "time"))


# ---- a story ----------------------------------------------------------------------------------------------
def story() -> list[Row]:
    """Look whether the component that all listeners share follows the sound and the words.

    Fixed beforehand: CP over subject, region and time of standardised series, subjects non-negative, four
    starts of at most 100 sweeps; the component is the one whose
    smallest subject loading is largest. Correlations with the listeners' own regressors, mean of subjects.
    """
    folder = shared("data/fmri_alice_story_roi")
    paths = sorted((folder / "10mm").glob("s*-timecourses.txt"))
    names = [path.name.partition("-")[0] for path in paths]
    values = np.stack([np.loadtxt(path) for path in paths])
    values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    x = xr.DataArray(values, {"subject": names, "region": list(REGIONS)}, ("subject", "time", "region"))
    model = nt.TensorModel("cp", 1, nonnegative=("subject",), n_restarts=4, max_iter=100, tol=1e-6)
    scan = nt.rank_scan(model, x, [1, 2, 3, 4], cv="speckled")
    rank = max(1, scan.attrs["selected_rank"])
    fit = replace(model, rank=rank).fit(x)
    loading = fit["subject_loading"].transpose("component", "subject").to_numpy()
    shared_by_all = int(np.argmax(loading.min(axis=1)))
    one = fit.isel(component=shared_by_all)
    sign = np.sign(float(one["region_loading"].sum()))
    course = sign * one["time_loading"].to_numpy()
    rows = [
        Row("story: rank chosen by hidden entries", float(scan.attrs["selected_rank"]),
            note=scan.attrs["reason"]),
        Row("story: smallest subject loading over the largest", float(
            loading[shared_by_all].min() / loading[shared_by_all].max())),
        Row("story: largest region", float(np.abs(one["region_loading"]).max()),
            note=str(one["region"].to_numpy()[int(np.argmax(np.abs(one["region_loading"].to_numpy())))])),
    ]  # fmt: skip
    for what in ("rate", "sndpwr"):
        r = [np.corrcoef(np.loadtxt(folder / f"{name}-{what}.txt"), course)[0, 1] for name in names]
        rows.append(Row(f"story: correlation of its time course with {what}", float(np.mean(r))))
    return rows
