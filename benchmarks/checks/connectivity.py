"""Connectivity beside nilearn: the same numbers, the time they take, and the memory of many windows."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks.checks.memory import extra
from benchmarks.record import Row, shared
from benchmarks.timing import alternate, one_thread
from neurotools import schema

KINDS = {"correlation": "correlation", "partial": "partial correlation", "precision": "precision"}
BOUNDS = {"empirical": "<= 1e-13", "ledoit_wolf": "<= 1e-11"}
TANGENT = "<= 1e-9"
STRATEGIES = {
    "motion": nt.ConfoundStrategy(motion="basic"),
    "motion and tissue": nt.ConfoundStrategy(motion="derivatives", wm_csf="basic"),
}
N_WINDOWS, N_REGIONS = 2000, 400

# Argument: number of windows. The series of the small call is as large as that of the large one.
WINDOWS = """
import numpy as np, neurotools as nt
from neurotools.schema import continuous
def series():
    values = np.random.default_rng(0).normal(size=(REGIONS, 2100))
    return continuous(values, dim="region", sfreq=1.0, units="1")
def read(n):
    windows = nt.dynamic_connectivity(series(), window_s=60, step_s=1).isel(window=slice(0, int(n)))
    return nt.window_summary(windows)
"""


def rest() -> xr.DataArray:
    """Sixteen people at rest, 94 regions, 1,200 volumes."""
    with np.load(shared("data/fmri_hcp_aal2_timeseries") / "hcp_rest1lr_aal2_16subjects.npz") as file:
        bold, names = file["bold"].astype("float64"), file["subject"]
    parts = [schema.continuous(values, dim="region", sfreq=1 / 0.72, units="arbitrary") for values in bold]
    return xr.concat(parts, xr.Variable("subject", names))


# ---- numbers --------------------------------------------------------------------------------------------
def equals_nilearn() -> list[Row]:
    """Every kind and estimator, live on sixteen people and as recorded from nilearn on made series."""
    return [*_live(), *_recorded(), *_confounds()]


def _live() -> list[Row]:
    from nilearn.connectome import ConnectivityMeasure
    from sklearn.covariance import EmpiricalCovariance, LedoitWolf

    array, rows = rest(), []
    x = array.transpose("subject", "time", "region").to_numpy()
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    inner = {"empirical": EmpiricalCovariance, "ledoit_wolf": LedoitWolf}
    for estimator, bound in BOUNDS.items():
        for kind, word in KINDS.items():
            if estimator == "empirical" and kind != "correlation":
                continue  # stated for shrunk estimates, which always have an inverse
            peer = ConnectivityMeasure(inner[estimator](store_precision=False), kind=word, standardize=False)
            theirs = peer.fit_transform(list(x))
            ours = nt.connectivity(array, kind=kind, estimator=estimator).to_numpy()
            worst = np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max())
            rows.append(Row(f"16 people at rest: {kind}, {estimator}", float(worst), bound))
    peer = ConnectivityMeasure(LedoitWolf(store_precision=False), kind="tangent", standardize=False)
    theirs = peer.fit_transform(list(x))
    ours = nt.connectivity(array, kind="tangent").to_numpy()
    rows.append(Row("16 people at rest: tangent", float(np.abs(ours - theirs).max()), TANGENT))
    return rows


def _recorded() -> list[Row]:
    rows = []
    for file in ("connectivity_T120_R30.npz", "connectivity_T20_R30.npz"):
        with np.load(shared("reference/nilearn") / file, allow_pickle=False) as stored:
            known = dict(stored)
        parts = [schema.continuous(values.T, dim="region", sfreq=1.0, units="1") for values in known["X"]]
        array = xr.concat(parts, "subject")
        for kind, word in KINDS.items():
            theirs = known[f"ledoitwolf/raw/{word.replace(' ', '_')}"]
            ours = nt.connectivity(array, kind=kind, standardize=False).to_numpy()
            worst = np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max())
            rows.append(Row(f"recorded, {known['X'].shape[1]} samples: {kind}", float(worst), "<= 1e-11"))
        tangent = nt.connectivity(array, kind="tangent", standardize=False).to_numpy()
        worst = np.abs(tangent - known["ledoitwolf/raw/tangent"]).max()
        rows.append(Row(f"recorded, {known['X'].shape[1]} samples: tangent", float(worst), TANGENT))
    return rows


def _confounds() -> list[Row]:
    """Confounds chosen, removed, and the rest correlated, by each program from the same table."""
    from nilearn.connectome import ConnectivityMeasure
    from nilearn.interfaces.fmriprep import load_confounds
    from nilearn.signal import clean
    from sklearn.covariance import EmpiricalCovariance

    table = shared("data/fmri_fmriprep_confounds") / "test_desc-confounds_regressors.tsv"
    recording = nt.load(table, sfreq=0.5)
    bold = rest().isel(subject=0, drop=True).isel(time=slice(0, 30))
    bold = bold.assign_coords(time=recording["confounds/confounds"]["time"]).assign_attrs(sfreq=0.5)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "sub-01_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
        image.touch()  # nilearn finds the table by the name of an image beside it, which it does not open
        for kind in (".tsv", ".json"):
            beside = image.with_name(f"sub-01_task-rest_desc-confounds_regressors{kind}")
            shutil.copy(table.with_suffix(kind), beside)
        for what, strategy in STRATEGIES.items():
            parts = {"motion": strategy.motion, "wm_csf": strategy.wm_csf}
            asked = {name: part for name, part in parts.items() if part is not None}
            columns, kept = load_confounds(str(image), strategy=tuple(asked), **asked)
            values = bold.transpose("time", "region").to_numpy()
            cleaned = clean(values, confounds=columns, sample_mask=kept, standardize=None, t_r=2.0)
            inner = EmpiricalCovariance(store_precision=False)
            peer = ConnectivityMeasure(inner, kind="correlation", standardize=False)
            theirs = peer.fit_transform([cleaned])[0]
            removed = nt.confounds(recording, strategy)
            ours = nt.connectivity(nt.clean(bold, removed), estimator="empirical").to_numpy()
            worst = float(np.abs(ours - theirs).max())
            rows.append(Row(f"confounds removed ({what}), then correlation", worst, "<= 1e-10"))
    return rows


# ---- time -----------------------------------------------------------------------------------------------
def speed() -> list[Row]:
    """Sixteen people and one hundred made recordings, one thread, both programs in turn."""
    from nilearn.connectome import ConnectivityMeasure

    made = np.random.default_rng(0).normal(size=(100, 200, 200))
    parts = [schema.continuous(values.T, dim="region", sfreq=1.0, units="1") for values in made]
    rows = []
    for what, array in {"16 people at rest": rest(), "100 x 200 x 200": xr.concat(parts, "subject")}.items():
        x = list(array.transpose("subject", "time", "region").to_numpy())
        for kind, least in {"correlation": 4.0, "partial": 1.8}.items():
            peer = ConnectivityMeasure(kind=KINDS[kind], standardize="zscore_sample")
            with one_thread():
                ours, theirs = alternate(
                    lambda a=array, k=kind: nt.connectivity(a, kind=k),  # type: ignore[misc]
                    lambda p=peer, y=x: p.fit_transform(y),  # type: ignore[misc]
                )
            rows.append(Row(f"{what}: {kind}", 1e3 * ours, unit="ms CPU"))
            rows.append(Row(f"{what}: {kind}, nilearn over ours", theirs / ours, f">= {least}"))
    return rows


# ---- memory ---------------------------------------------------------------------------------------------
def memory() -> list[Row]:
    """Two thousand windows of four hundred regions, beyond what twenty windows of the same series take."""
    code = WINDOWS.replace("REGIONS", str(N_REGIONS))
    taken = extra(code, "20", str(N_WINDOWS)) / 2**20
    whole = N_WINDOWS * N_REGIONS**2 * 8 / 2**30
    note = f"all matrices together would take {whole:.1f} GiB"
    return [Row(f"{N_WINDOWS} windows of {N_REGIONS} regions", taken, "<= 64", unit="MiB", note=note)]
