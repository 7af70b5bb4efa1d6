"""A folder of phy or Kilosort: sorted spikes. ``params.py`` is read as text and never run."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import FileError, SchemaError
from neurotools.loaders.answers import Answers
from neurotools.loaders.described.arrays import npy_contents
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.limits import check_size
from neurotools.loaders.reading.sniff import head
from neurotools.loaders.spikes.trains import judged_trains
from neurotools.schema import recording_tree, spike_table

PARAMS = "params.py"
MOST_PARAMS = 1 << 20  # bytes of a params.py or a table of clusters that are still believable
# Names in the tables of phy -> the words of this toolkit.
COORDS = {"group": "quality", "ch": "channel", "KSLabel": "kilosort_label"}


def load_phy(path: Path, answers: Answers) -> xr.DataTree:
    """Read a folder with ``spike_times.npy`` and ``spike_clusters.npy``.

    Each cluster is a unit, noise included; the tables of clusters become coordinates, ``group`` as
    ``quality`` and ``ch`` as ``channel``. The sampling rate is that of ``params.py``, or ``sfreq=``.

    Raises
    ------
    FileError
        A file is damaged or the sampling rate is nowhere stated.
    SchemaError
        Spikes and clusters differ in number, or times step back and ``sort=True`` was not said.
    """
    params = read_params(path / PARAMS)
    sfreq = answers.sfreq or params.get("sample_rate")
    if not isinstance(sfreq, (int, float)) or not np.isfinite(sfreq) or sfreq <= 0:
        sfreq = answers.need("sfreq", path, f"sample_rate = {params.get('sample_rate')!r} in {PARAMS}")
    name = "spike_clusters" if (path / "spike_clusters.npy").is_file() else "spike_templates"
    samples, cluster = _column(path, "spike_times"), _column(path, name)
    if samples.size != cluster.size:
        raise SchemaError(
            "spikes and clusters differ in number", code="NT-DATA-005", path=path,
            found=f"{cluster.size} in {name}.npy", expected=f"{samples.size} as in spike_times.npy",
        )  # fmt: skip
    units, slot = np.unique(cluster, return_inverse=True)
    order = np.argsort(slot, kind="stable")
    ends = np.cumsum(np.bincount(slot, minlength=units.size))[:-1]
    trains = np.split(samples[order] / float(sfreq), ends) if units.size else []
    trains, notes = judged_trains(trains, units, path=path, sort=answers.sort)
    stop, how = _end(path, params, float(sfreq), samples)
    attrs = {"sfreq": float(sfreq), "t_stop_from": how, **notes}
    table = spike_table(
        trains, unit=units, t_start=0.0, t_stop=stop, coords=_clusters(path, units), attrs=attrs
    )
    left = sorted(p.name for p in path.glob("*.npy") if p.stem not in {"spike_times", name})
    return recording_tree({"spikes": table}, **({"not_read": ", ".join(left)} if left else {}))


# ---- params.py --------------------------------------------------------------------------------------
def read_params(path: Path) -> dict[str, Any]:
    """Plain values assigned in a ``params.py``; the file is parsed as text, and nothing in it is run."""
    if not path.is_file():
        return {}
    if path.stat().st_size > MOST_PARAMS:
        raise FileError(f"{PARAMS} is too large to be settings", code="NT-FILE-005", path=path)
    with reading(path, PARAMS), warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # Windows paths look like escapes
        lines = ast.parse(path.read_text(encoding="utf-8", errors="replace")).body
    found: dict[str, Any] = {}
    for line in lines:
        if isinstance(line, ast.Assign) and isinstance(line.value, (ast.Constant, ast.List, ast.UnaryOp)):
            try:
                value = ast.literal_eval(line.value)
            except (ValueError, TypeError, RecursionError):
                continue
            found |= {target.id: value for target in line.targets if isinstance(target, ast.Name)}
    return found


def _end(path: Path, params: dict[str, Any], sfreq: float, samples: np.ndarray) -> tuple[float, str]:
    """End of the recording: of its raw file where that lies beside, else the last spike."""
    last = float(samples.max()) / sfreq if samples.size else 0.0
    data, n_channels = params.get("dat_path"), params.get("n_channels_dat")
    data = data[0] if isinstance(data, list) and len(data) == 1 else data
    if isinstance(data, str) and isinstance(n_channels, int) and n_channels > 0:
        file = path / Path(data.replace("\\", "/")).name
        try:
            width = np.dtype(str(params.get("dtype", "int16"))).itemsize
        except TypeError:
            return last, "last spike"
        if file.is_file() and width:
            n = (file.stat().st_size - int(params.get("offset") or 0)) // (width * n_channels)
            if n / sfreq >= last:
                return n / sfreq, file.name
    return last, "last spike"


# ---- arrays and tables ------------------------------------------------------------------------------
def _column(path: Path, name: str) -> np.ndarray:
    file = path / f"{name}.npy"
    values = npy_contents(file).read(name).squeeze()
    values = values.reshape(1) if values.ndim == 0 else values
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and (values == np.floor(values)).all())
    if values.ndim != 1 or not whole:
        raise FileError(
            f"{file.name} needs one whole number per spike", path=file,
            found=f"{values.dtype} of shape {values.shape}",
        )  # fmt: skip
    return values.astype("int64") if name != "spike_times" else values


def _clusters(path: Path, units: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the tables of clusters, as coordinates of the units; what phy wrote last wins."""
    found: dict[str, np.ndarray] = {}
    files = [*sorted(path.glob("cluster_*.tsv")), *sorted(path.glob("cluster_*.csv"))]
    for file in sorted(files, key=lambda f: (f.stem == "cluster_info", f.stem == "cluster_group", f.name)):
        check_size(file.stat().st_size * 20, file, "the table of clusters")
        with reading(file, "the table of clusters"):
            table = pd.read_csv(file, sep="\t" if file.suffix == ".tsv" else ",")
        key = next((name for name in ("cluster_id", "id") if name in table.columns), None)
        if key is None or table[key].duplicated().any():
            raise FileError(
                "a table of clusters needs one row per cluster_id", path=file,
                found=", ".join(map(str, table.columns)),
            )  # fmt: skip
        rows = table.set_index(key).reindex(units)
        for column in rows.columns:
            values = _plain(rows[column])
            name = COORDS.get(str(column), str(column)).replace("/", "_")
            # An empty entry says nothing, so it does not overwrite what another table says.
            if name in found and values.dtype.kind == "U" and found[name].dtype.kind == "U":
                values = np.where(values == "", found[name], values)
            if name not in {"unit", "spike"}:
                found[name] = values
    return found


def _plain(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy()
    return column.fillna("").astype(str).to_numpy(dtype=str)


def is_phy(path: Path) -> bool:
    """Whether a folder holds spike times and clusters as phy and Kilosort write them."""
    if not path.is_dir() or head(path / "spike_times.npy", 6) != b"\x93NUMPY":
        return False
    return any((path / f"{name}.npy").is_file() for name in ("spike_clusters", "spike_templates"))


FORMATS = {"phy": is_phy}
