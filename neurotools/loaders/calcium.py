"""Calcium imaging as its tools leave it: suite2p folders, CaImAn files, whole-brain recordings of worms."""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.answers import Answers
from neurotools.loaders.described.arrays import hdf5_contents, npy_contents, npz_contents
from neurotools.loaders.described.contents import Contents
from neurotools.loaders.reading.disk import LAZY_BYTES, on_disk
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import array_bytes, check_size
from neurotools.loaders.reading.sniff import hdf5_root
from neurotools.schema import continuous, events_table, recording_tree

# ---- suite2p ---------------------------------------------------------------------------------------
# File -> name beside "activity", and what it is.
SUITE2P = {
    "F": ("fluorescence", "fluorescence of the unit, neuropil not subtracted"),
    "Fneu": ("neuropil", "fluorescence of the neuropil around the unit"),
    "spks": ("deconvolved", "deconvolved activity"),
}
OPS_MOST = 4 * 2**30


def load_suite2p(path: Path, answers: Answers) -> xr.DataTree:
    """Load the output folder of suite2p: ``calcium/activity`` is F unless ``array`` says "spks" or "Fneu".

    The other traces lie beside it as ``fluorescence``, ``neuropil`` and ``deconvolved``. ``iscell`` and its
    probability are coordinates of ``unit``, which are the ROI numbers of suite2p; nothing is left out. The
    frame rate is found in ``ops.npy`` without opening that file as the pickle that it is; where it is
    absent, ``sfreq`` has to be given. ``stat.npy``, a pickle too, is not read.
    """
    planes = _planes(path)
    notes = _notes(planes)
    sfreq = answers.sfreq if answers.sfreq is not None else _frame_rate(planes[0])
    if sfreq is None:
        raise FileError(
            "the frame rate is not known: " + ("; ".join(notes) or "ops.npy does not hold it"),
            code="NT-FILE-006", path=path, fix="sfreq=..., in frames per second and per plane",
        )  # fmt: skip
    main = answers.array or "F"
    if main not in SUITE2P:
        raise SettingsError(f"suite2p has no traces {main!r}", expected=", ".join(SUITE2P))
    per_plane = [_suite2p_plane(plane, answers) for plane in planes]
    names = sorted(set.intersection(*(set(arrays) for arrays in per_plane)))
    if main not in names:
        raise FileError(f"{main}.npy is missing", code="NT-FILE-008", path=path, found=", ".join(names))
    coords, labels = _suite2p_units(planes, [arrays[main].shape[0] for arrays in per_plane])
    nodes = {}
    for name in names:
        values = [arrays[name] for arrays in per_plane]
        variable = "activity" if name == main else SUITE2P[name][0]
        nodes[f"calcium/{variable}"] = continuous(
            _beside(values, name, path), dim="unit", labels=labels, sfreq=float(sfreq), t0=answers.t0,
            units="arbitrary", coords=coords, attrs={"description": SUITE2P[name][1], "file": f"{name}.npy"},
        )  # fmt: skip
    attrs = {"kind": "calcium", "notes": "; ".join(notes) or None, **answers.attrs}
    return recording_tree(nodes, **attrs)


def _planes(path: Path) -> list[Path]:
    if (path / "F.npy").is_file():
        return [path]
    base = path / "suite2p" if (path / "suite2p").is_dir() else path
    return sorted(
        (p for p in base.glob("plane*") if (p / "F.npy").is_file()), key=lambda p: (len(p.name), p.name)
    )


def _notes(planes: list[Path]) -> list[str]:
    notes = []
    for name, lost in (
        ("ops.npy", "frame rate and settings"),
        ("stat.npy", "shapes and places of the units"),
    ):
        if not (planes[0] / name).is_file():
            notes.append(f"{name} is missing, and with it {lost}")
        elif name == "stat.npy":
            notes.append("stat.npy is a pickle and was not opened")
    if not (planes[0] / "iscell.npy").is_file():
        notes.append("iscell.npy is missing, so no unit is marked as accepted")
    return notes


def _suite2p_plane(plane: Path, answers: Answers) -> dict[str, Any]:
    """The traces of one plane; large ones stay on disk."""
    traces: dict[str, Any] = {}
    for name in SUITE2P:
        file = plane / f"{name}.npy"
        if not file.is_file():
            continue
        contents = npy_contents(file)
        stored = contents.arrays[name]
        if len(stored.shape) != 2:
            raise SchemaError(f"{file.name} is not (unit, time)", path=file, found=f"shape {stored.shape}")
        part, dtype = stored.part, stored.part_dtype
        if part is not None and dtype is not None and array_bytes(stored.shape, dtype.itemsize) > LAZY_BYTES:
            traces[name] = on_disk(part, stored.shape, dtype, file)
        else:
            traces[name] = contents.read(name)
    shapes = {name: values.shape for name, values in traces.items()}
    if len(set(shapes.values())) > 1:
        raise FileError("the traces of suite2p differ in shape", code="NT-FILE-008", path=plane, found=shapes)
    return traces


def _beside(values: list[Any], name: str, path: Path) -> Any:
    if len(values) == 1:
        return values[0]
    lengths = {array.shape[1] for array in values}
    if len(lengths) > 1:
        raise FileError(
            f"{name}.npy has another number of frames in each plane", code="NT-FILE-008", path=path,
            found=sorted(lengths), fix="load the planes one by one",
        )  # fmt: skip
    return np.concatenate([np.asarray(array) for array in values])


def _suite2p_units(planes: list[Path], n_units: list[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Coordinates of ``unit``, and labels: the ROI number, after its plane where there are several."""
    coords: dict[str, list[np.ndarray]] = {}
    labels: list[Any] = []
    for plane, n in zip(planes, n_units, strict=True):
        labels += list(range(n)) if len(planes) == 1 else [f"{plane.name}/{k}" for k in range(n)]
        for name, values in _marks(plane, n).items():
            coords.setdefault(name, []).append(values)
        if len(planes) > 1:
            coords.setdefault("plane", []).append(np.full(n, plane.name))
    whole = {name: np.concatenate(parts) for name, parts in coords.items() if len(parts) == len(planes)}
    return whole, np.asarray(labels)


def _marks(plane: Path, n: int) -> dict[str, np.ndarray]:
    marks: dict[str, np.ndarray] = {}
    if (plane / "iscell.npy").is_file():
        values = npy_contents(plane / "iscell.npy").read("iscell")
        values = values.reshape(values.shape[0], -1)
        if values.shape[0] != n:
            raise FileError(
                "iscell.npy and the traces differ in their number of units",
                code="NT-FILE-008", path=plane, found=f"{values.shape[0]}", expected=f"{n}",
            )  # fmt: skip
        marks["iscell"] = values[:, 0] > 0.5
        if values.shape[1] > 1:
            marks["iscell_probability"] = np.asarray(values[:, 1], dtype="float64")
    if (plane / "stat_summary.npz").is_file():
        summary = npz_contents(plane / "stat_summary.npz")
        for name in summary.arrays:
            stat = summary.read(name)
            if name == "med" and stat.shape == (n, 2):
                # suite2p keeps row before column: y before x, in pixels.
                marks["y_px"], marks["x_px"] = stat[:, 0], stat[:, 1]
            elif stat.shape == (n,):
                marks[name] = stat
    return marks


def _frame_rate(plane: Path) -> float | None:
    """``fs`` of ``ops.npy``, read off the pickle's instructions, none of which is carried out."""
    file = plane / "ops.npy"
    if not file.is_file():
        return None
    check_size(file.stat().st_size, file, "ops.npy")
    with reading(file, "ops.npy"), file.open("rb") as stream:
        np.lib.format.read_magic(stream)
        stream.seek(10)
        stream.readline()
        return number_in_pickle(stream.read(OPS_MOST), "fs")


def number_in_pickle(pickled: bytes, key: str) -> float | None:
    """The plain number that follows the text ``key`` in a pickle; the pickle is listed, never run."""
    awaited = False
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name in {"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"}:
            continue
        if awaited and isinstance(argument, (int, float)) and not isinstance(argument, bool):
            return float(argument)
        awaited = "UNICODE" in operation.name and argument == key
    return None


def is_suite2p(path: Path) -> bool:
    """Whether a folder holds the traces of suite2p, in itself or in its planes."""
    if not path.is_dir():
        return False
    planes = _planes(path)
    return bool(planes) and any((planes[0] / f"{n}.npy").is_file() for n in ("Fneu", "spks", "iscell"))


# ---- whole-brain recordings of worms ----------------------------------------------------------------
WORM_TRACES = {
    "trace_array": ("activity", "1", "z-scored fluorescence"),
    "trace_array_original": ("original", "arbitrary", "trace_array_original of the file"),
    "traces_array_F_F20": ("f_over_f20", "1", "fluorescence over its 20th percentile"),
}
WORM_CLOCK = "timing/timestamp_confocal"
UNNAMED = "the file names no neurons: unit k of one animal is not unit k of another"


def load_worm(path: Path, answers: Answers) -> xr.DataTree:
    """Load a whole-brain recording of a worm (groups ``gcamp``, ``behavior``, ``timing`` in HDF5).

    ``calcium/activity`` is the z-scored trace; behaviour has the frames of the microscope as its clock, whose
    stamps are kept as they are (they are not regular). Times count from the first frame; ``clock_start`` in
    the attributes is its stamp. Reversals, stored as frames from 1, become events in seconds.
    """
    contents = hdf5_contents(path)
    stamps = contents.read(WORM_CLOCK).astype("float64").ravel()
    time = stamps - stamps[0] if stamps.size else stamps
    nodes: dict[str, Any] = {}
    used = {WORM_CLOCK}
    for name, (variable, unit, what) in WORM_TRACES.items():
        if f"gcamp/{name}" in contents.arrays:
            values = _frames(contents, f"gcamp/{name}", time.size, path)
            nodes[f"calcium/{variable}"] = continuous(
                values.T, dim="unit", time=time, units=unit, attrs={"description": what, "identity": UNNAMED}
            )
            used.add(f"gcamp/{name}")
    behaviour, read = _worm_behaviour(contents, time)
    nodes["behaviour"] = behaviour
    if "behavior/reversal_events" in contents.arrays:
        nodes["events"] = _reversals(contents.read("behavior/reversal_events"), time, path)
        read.add("behavior/reversal_events")
    left = [name for name in contents.arrays if name not in used | read]
    attrs = {
        "kind": "calcium", "species": "Caenorhabditis elegans", "clock_start": float(stamps[0]),
        "notes": f"{UNNAMED}, so units cannot be matched across animals", "not_read": ", ".join(left) or None,
        **answers.attrs,
    }  # fmt: skip
    return recording_tree(nodes, **attrs)


def _frames(contents: Contents, name: str, n: int, path: Path) -> np.ndarray:
    values = contents.read(name)
    if values.ndim == 0 or values.shape[0] != n:
        raise FileError(
            f"{name} and the clock differ in their number of frames",
            code="NT-FILE-008", path=path, found=f"shape {values.shape}", expected=f"{n} frames",
        )  # fmt: skip
    return values


def _worm_behaviour(contents: Contents, time: np.ndarray) -> tuple[xr.Dataset, set[str]]:
    """All behaviour with a value per frame; body angles keep their points along the body."""
    data: dict[str, Any] = {}
    for full in contents.arrays:
        name = full.removeprefix("behavior/")
        if name == full or contents.arrays[full].shape[:1] != (time.size,):
            continue
        values = contents.read(full)
        dims = ("time",) if values.ndim == 1 else ("time", f"{name}_point")
        data[name] = (dims, values, {"units": "arbitrary", "description": "unit not stated in the file"})
    coords = {"time": ("time", time, {"units": "s"})}
    return xr.Dataset(data, coords=coords), {f"behavior/{name}" for name in data}


def _reversals(frames: np.ndarray, time: np.ndarray, path: Path) -> xr.Dataset:
    if frames.ndim != 2 or frames.shape[0] != 2 or frames.dtype.kind not in "iu":
        raise SchemaError("reversals need first and last frame", path=path, found=f"shape {frames.shape}")
    if frames.size and (frames.min() < 1 or frames.max() > time.size):
        raise SchemaError(
            "a reversal lies outside the recording", code="NT-DATA-007", path=path,
            found=f"frames {frames.min()} to {frames.max()}", expected=f"1 to {time.size}",
        )  # fmt: skip
    first, last = frames.astype("int64") - 1  # the file counts from 1
    return events_table(time[first], time[last] - time[first], "reversal", first_frame=first, last_frame=last)


def is_worm(path: Path) -> bool:
    """Whether an HDF5 file has the groups of a whole-brain worm recording."""
    return hdf5_root(path)[1].issuperset({"gcamp", "behavior", "timing"})


# ---- CaImAn ----------------------------------------------------------------------------------------
CAIMAN = {
    "C": ("denoised", "denoised temporal component"),
    "S": ("deconvolved", "deconvolved activity"),
    "F_dff": ("dff", "dF/F"),
    "YrA": ("residual", "residual of the component"),
}


def load_caiman(path: Path, answers: Answers) -> xr.DataTree:
    """Load the HDF5 file of CaImAn's estimates: ``calcium/activity`` is C unless ``array`` names another.

    The frame rate is ``params/data/fr`` of the file, or ``sfreq``. Accepted components are marked by the
    coordinate ``accepted``; none is left out.
    """
    contents = hdf5_contents(path)
    main = answers.array or "C"
    present = {name: contents.read(f"estimates/{name}") for name in CAIMAN
               if contents.arrays.get(f"estimates/{name}") is not None
               and len(contents.arrays[f"estimates/{name}"].shape) == 2}  # fmt: skip
    if main not in present:
        raise FileError(
            f"the file has no estimates/{main}", code="NT-FILE-008", path=path, found=sorted(present)
        )
    sfreq = answers.sfreq
    if sfreq is None and "params/data/fr" in contents.arrays:
        sfreq = float(contents.read("params/data/fr").ravel()[0])
    if sfreq is None:
        raise FileError(
            "the file does not say its frame rate", code="NT-FILE-006", path=path, fix="sfreq=..."
        )
    n, n_time = present[main].shape
    accepted = _accepted(contents, n, path)
    nodes = {}
    for name, values in present.items():
        if values.shape != (n, n_time):
            raise FileError(f"estimates/{name} does not fit estimates/{main}", code="NT-FILE-008", path=path)
        nodes[f"calcium/{'activity' if name == main else CAIMAN[name][0]}"] = continuous(
            values, dim="unit", sfreq=sfreq, t0=answers.t0, units="1" if name == "F_dff" else "arbitrary",
            coords=accepted, attrs={"description": CAIMAN[name][1]},
        )  # fmt: skip
    return recording_tree(nodes, kind="calcium", **answers.attrs)


def _accepted(contents: Contents, n: int, path: Path) -> Mapping[str, np.ndarray]:
    name = "estimates/idx_components"
    if name not in contents.arrays or contents.arrays[name].dtype == "text":
        return {}
    index = contents.read(name).ravel()
    if index.dtype.kind not in "iu" or (index.size and (index.min() < 0 or index.max() >= n)):
        raise FileError("idx_components names components that are not there", code="NT-FILE-008", path=path)
    accepted = np.zeros(n, dtype=bool)
    accepted[index] = True
    return {"accepted": accepted}


def is_caiman(path: Path) -> bool:
    """Whether an HDF5 file has the groups that CaImAn saves."""
    return hdf5_root(path)[1].issuperset({"estimates", "params"})


FORMATS = {"suite2p": is_suite2p, "worm": is_worm, "caiman": is_caiman}
