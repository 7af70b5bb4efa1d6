"""Tables of what there is (models, file formats, pipelines), and the functions that look things up in them.

The tables hold text, so nothing heavy is imported until it is asked for. Adding a method, a format or a
pipeline is one line here.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from neurotools import samples
from neurotools.errors import FileError, SchemaError, did_you_mean, expect, lookup
from neurotools.loaders.answers import Answers
from neurotools.loaders.reading import checksums
from neurotools.loaders.recognise import recognise
from neurotools.provenance import open_saved

MODELS = {
    "ntf": "neurotools.models.ntf:NTF",
    "tensor_model": "neurotools.models.tensor_model:TensorModel",
    "block_model": "neurotools.models.block_model:BlockModel",
    "switching_glm": "neurotools.models.switching_glm:SwitchingGLM",
    "bicluster": "neurotools.models.bicluster:BiCluster",
}

# Models whose fit is a folder with weights: beside the data, ``fit`` is told where.
ENCODERS = {
    "encoder": "neurotools.models.encoders.encoder:Encoder",
}

# Settings that are dataclasses themselves, by the name they are saved under.
SETTINGS: dict[str, str] = {
    "BraindecodeSettings": "neurotools.models.encoders.braindecode_recipe:BraindecodeSettings",
    "DuINSettings": "neurotools.models.encoders.duin:DuINSettings",
    "ELMSettings": "neurotools.models.encoders.elm:ELMSettings",
    "Head": "neurotools.models.encoders.heads:Head",
    "NeuroGPTSettings": "neurotools.models.encoders.neurogpt:NeuroGPTSettings",
    "NeuroformerSettings": "neurotools.models.encoders.neuroformer:NeuroformerSettings",
    "STMAESettings": "neurotools.models.encoders.stmae:STMAESettings",
    "Training": "neurotools.models.encoders.training:Training",
    "GroupLasso": "neurotools.numerics.switching_lasso:GroupLasso",
    "GaussianPrior": "neurotools.numerics.switching_prior:GaussianPrior",
    "OneHotPrior": "neurotools.numerics.switching_types:OneHotPrior",
    "RidgePrior": "neurotools.numerics.switching_prior:RidgePrior",
    "FiniteMixture": "neurotools.models.bicluster:FiniteMixture",
    "DirichletProcess": "neurotools.models.bicluster:DirichletProcess",
    "StickyHDP": "neurotools.models.bicluster:StickyHDP",
}

# EEG, MEG, ECoG and sEEG, all read by one loader.
THROUGH_MNE = (
    "edf", "bdf", "gdf", "fif", "brainvision", "eeglab", "egi", "egi-mff", "cnt", "ant", "nihon-kohden",
    "persyst", "neuralynx", "ctf", "kit", "curry", "bci2000", "nedf", "nicolet", "eximia", "artemis", "mef",
)  # fmt: skip

# Spikes, events and signals of recording systems, all read by one loader.
THROUGH_NEO = (
    "blackrock", "plexon", "neuralynx-spikes", "intan", "neuroexplorer", "spike2", "micromed", "axon",
    "open-ephys", "open-ephys-binary", "spikeglx",
)  # fmt: skip

# Format as told by ``recognise`` -> reader(path, answers) -> recording.
LOADERS = {
    "saved": "neurotools.loaders.saved:load_saved",
    "nifti": "neurotools.loaders.fmri.images:load_nifti",
    "openfmri": "neurotools.loaders.fmri.openfmri:load_openfmri",
    "bids-fmri": "neurotools.loaders.fmri.bids:load_bids_fmri",
    "fmriprep-confounds": "neurotools.loaders.fmri.confounds:load_confounds",
    "nwb": "neurotools.loaders.nwb.files:load_nwb",
    "pynapple": "neurotools.loaders.spikes.pynapple_npz:load_pynapple",
    "phy": "neurotools.loaders.spikes.phy:load_phy",
    "suite2p": "neurotools.loaders.calcium:load_suite2p",
    "worm": "neurotools.loaders.calcium:load_worm",
    "caiman": "neurotools.loaders.calcium:load_caiman",
    "choices-folder": "neurotools.loaders.behaviour:load_choices_folder",
    "tracking": "neurotools.loaders.behaviour:load_tracking",
    "described": "neurotools.loaders.described.recordings:load_described",
    "mat": "neurotools.loaders.described.recordings:load_described",
    "mat-7.3": "neurotools.loaders.described.recordings:load_described",
    "npz": "neurotools.loaders.described.recordings:load_described",
    "npy": "neurotools.loaders.described.recordings:load_described",
    "hdf5": "neurotools.loaders.described.recordings:load_described",
    "table": "neurotools.loaders.described.recordings:load_described",
    "bids": "neurotools.loaders.eeg.bids:load_bids",
    "eeg-table": "neurotools.loaders.eeg.tables:load_eeg_table",
    **{name: "neurotools.loaders.eeg.recordings:load_eeg" for name in THROUGH_MNE},
    **{name: "neurotools.loaders.spikes.recorders:load_neo" for name in THROUGH_NEO},
}

PIPELINES = {
    "encoder-pretrain": "neurotools.pipelines.encoder_pretrain",
    "encoder-probe": "neurotools.pipelines.encoder_probe",
    "dynamic-connectome": "neurotools.pipelines.dynamic_connectome",
    "choice-states": "neurotools.pipelines.choice_states",
    "bicluster": "neurotools.pipelines.bicluster",
    "brain-states": "neurotools.pipelines.brain_states",
    "fmri-connectivity": "neurotools.pipelines.fmri_connectivity",
    "quality": "neurotools.pipelines.quality",
}


def resolve(target: str) -> Any:
    """Import ``"module:name"`` (or a module) and return it."""
    module, _, name = target.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if name else loaded


def build(name: str, **settings: Any) -> Any:
    """Make a model from its registered name and settings."""
    return _rebuild(resolve(lookup("model", name, {**MODELS, **ENCODERS})), settings)


def model_of(fit: xr.Dataset | xr.DataTree) -> Any:
    """Rebuild the model, with its settings, that made a fit."""
    expect(fit, "a fit", xr.Dataset, xr.DataTree)
    if "model" not in fit.attrs or "settings" not in fit.attrs:
        raise SchemaError(
            "this is not a fit: it has no attrs 'model' and 'settings'", found=sorted(fit.attrs)
        )
    return build(fit.attrs["model"], **json.loads(fit.attrs["settings"]))


def _rebuild(cls: Any, settings: Mapping[str, Any]) -> Any:
    types = {field.name: field.type for field in dataclasses.fields(cls)}

    def value(name: str, entry: Any) -> Any:
        if isinstance(entry, dict) and "type" in entry:
            rest = {key: item for key, item in entry.items() if key != "type"}
            return _rebuild(resolve(lookup("setting", entry["type"], SETTINGS)), rest)
        return tuple(entry) if isinstance(entry, list) and "tuple" in str(types.get(name)) else entry

    return cls(**{name: value(name, entry) for name, entry in settings.items()})


def open_fit(path: str | Path) -> xr.Dataset | xr.DataTree:
    """Open a fit that ``nt.save`` wrote (``.nc`` or ``.zarr``); a store that is incomplete is refused."""
    expect(path, "the path of a saved fit", str, Path)
    return open_saved(path)


def load(
    source: str | Path,
    *,
    kind: str | None = None,
    dims: Sequence[str] | None = None,
    sfreq: float | None = None,
    bin_width: float | None = None,
    labels: Sequence[Any] | Mapping[str, Any] | str | Path | None = None,
    array: str | None = None,
    arrays: Mapping[str, Any] | None = None,
    units: str | None = None,
    allow_truncated: bool = False,
    sort: bool = False,
    resample: bool = False,
) -> xr.DataTree:
    """Read a file, a folder, a BIDS tree or a bundled sample into one labelled recording.

    The format is told by content, not by suffix alone. Formats that do not say what their arrays are
    (tables, ``.npz``, ``.mat``, plain HDF5) need it said here, or in a file ``recording.yaml`` beside the
    data with the same keys: a wrong guess is worse than a question, and the error lists what was found.

    Parameters
    ----------
    source : path or str
        A path, or the name of a sample (``neurotools list``).
    kind : {"eeg", "meg", "seeg", "ecog", "fmri", "spikes", "calcium", "behaviour", "counts"}, optional
        What was recorded.
    dims : sequence of str, optional
        Names of the array's axes as they lie in the file, for example ``("unit", "time")``.
    sfreq : float, optional
        Samples per second, in Hz.
    bin_width : float, optional
        Width of the bins of a count matrix, in seconds.
    labels : sequence, mapping or path, optional
        Names along the unit, channel or region axis, or where they stand (``{"name": ARRAY}``,
        ``{"file": FILE, "name": COLUMN}``); for a 4-D NIfTI the atlas image.
    array : str, optional
        Name of the array in the file (``"NEURAL"``, ``"gcamp/trace_array"``, a column range).
    arrays : mapping, optional
        Several arrays at once: ``{"calcium/activity": {"name": "NEURAL", "dims": [...], ...}}``.
    units : str, optional
        Unit of the values as stored; converted to the canonical one (``"uV"`` becomes V).
    allow_truncated : bool
        Accept a file shorter than its header promises; recorded in the attributes.
    sort : bool
        Put spike times and time stamps that step back into order, and record how many in the attributes;
        otherwise they are an error.
    resample : bool
        Let the atlas or mask of a 4-D NIfTI lie on another grid: every voxel takes the nearest label.
        Otherwise another grid is an error.

    Returns
    -------
    xarray.DataTree
        One node per modality or table, each with its own clock. ``recording.attrs`` says where it came
        from.

    Raises
    ------
    FileError
        The file is missing, cut short, not the one that a checksum beside it describes, of no known format,
        or leaves open what is what.
    SchemaError
        What it holds breaks the schema (NaN in spike times, repeated labels, ...).
    """
    path = _locate(source)
    answers = Answers.gather(
        path, kind=kind, dims=dims, sfreq=sfreq, bin_width=bin_width, labels=labels, array=array,
        arrays=arrays, units=units, allow_truncated=allow_truncated, sort=sort,
        resample=resample,
    )  # fmt: skip
    path = answers.target(path)
    # A file that is knowingly shorter than it was cannot have its old checksum.
    compared = None if answers.allow_truncated else checksums.compare(path)
    name = recognise(path, answers)
    recording = resolve(LOADERS[name])(path, answers)
    if compared is not None:
        recording.attrs["checksum"] = compared
    recording.attrs.setdefault("format", name)
    recording.attrs.setdefault("source", path.name)
    return recording


def _locate(source: str | Path) -> Path:
    expect(source, "a path, or the name of a sample,", str, Path)
    if isinstance(source, str) and source in samples.names():
        return samples.path(source)
    path = Path(source).expanduser()
    if not path.exists():
        hint = did_you_mean(str(source), samples.names())
        raise FileError(
            f"there is no file, folder or sample named {str(source)!r}.{hint}",
            code="NT-FILE-001",
            fix="check the path; bundled samples are " + ", ".join(samples.names()),
        )
    return path
