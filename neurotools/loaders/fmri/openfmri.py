"""OpenfMRI folders: ``sub001/BOLD/task001_run001/bold.nii.gz`` with events, motion and masks around it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError
from neurotools.loaders.answers import Answers
from neurotools.loaders.fmri import beside
from neurotools.loaders.fmri.images import load_nifti
from neurotools.loaders.reading.guard import reading
from neurotools.schema import continuous, recording_tree, signal

RUN = re.compile(r"task\d+_run\d+")
OF_THE_ARRAY = ("sfreq", "t0", "units")  # attributes that ``continuous`` writes itself


def load_openfmri(path: Path, answers: Answers) -> xr.DataTree:
    """Read the runs of one subject and lay them end to end.

    ``session`` on ``time`` says which run a volume is of (nothing crosses its edges); events are counted
    from the first volume of the first run. What the files do not tell is the pause between runs.

    Parameters
    ----------
    path : pathlib.Path
        The data set (with one subject), a subject, or one run.
    answers : Answers
        ``labels`` is the atlas or mask; ``array`` the image where a run has several (``"bold_25mm"``).
    """
    subject = _subject(path)
    runs = [path] if RUN.fullmatch(path.name) else _runs(subject)
    image = _image_name(runs, answers)
    if answers.labels is None:
        raise _ask_for_mask(path, subject, runs[0] / image)
    given = Path(str(answers.labels)).expanduser()
    places = [given, subject / given, subject.parent / given]
    labels = next((place for place in places if place.exists()), given)
    chosen = dataclasses.replace(answers, labels=labels)
    parts = {run.name: load_nifti(_file(run, image), chosen) for run in runs}
    if len(parts) == 1:
        return next(iter(parts.values()))
    return _end_to_end(parts, subject)


def _subject(path: Path) -> Path:
    if RUN.fullmatch(path.name):
        return path.resolve().parents[1]
    if (path / "BOLD").is_dir():
        return path
    subjects = sorted(folder.parent for folder in path.glob("sub*/BOLD"))
    if len(subjects) == 1:
        return subjects[0]
    raise FileError(
        "the data set has several subjects; give one",
        code="NT-FILE-006", path=path, found=", ".join(folder.name for folder in subjects),
        fix=f"nt.load({str(subjects[0])!r}, ...), or run a pipeline over the data set",
    )  # fmt: skip


def _runs(subject: Path) -> list[Path]:
    return sorted(folder for folder in (subject / "BOLD").iterdir() if RUN.fullmatch(folder.name))


def _images(run: Path) -> list[str]:
    return sorted(beside.stem(file) for file in run.glob("bold*.nii*"))


def _image_name(runs: list[Path], answers: Answers) -> str:
    """Name, without suffix, of the image to read in every run."""
    if not runs:
        raise FileError("the subject has no runs", code="NT-DATA-010", expected="folders like task001_run001")
    offered = _images(runs[0])
    wanted = answers.array or (offered[0] if len(offered) == 1 else None)
    if wanted is None:
        raise FileError(
            "a run has several images, so the one to read must be named",
            code="NT-FILE-006", path=runs[0], found=", ".join(offered) or "no image",
            fix=f"nt.load(path, array={(offered or ['bold'])[0]!r}, ...)",
        )  # fmt: skip
    for run in runs:
        if wanted not in _images(run):
            raise FileError(
                f"a run has no image named {wanted!r}",
                code="NT-FILE-008", path=run, found=", ".join(_images(run)) or "no image",
            )  # fmt: skip
    return wanted


def _file(run: Path, image: str) -> Path:
    return next(file for file in run.glob("bold*.nii*") if beside.stem(file) == image)


def _ask_for_mask(path: Path, subject: Path, image: Path) -> FileError:
    masks = sorted(file.relative_to(subject).as_posix() for file in subject.glob("masks/**/*.nii*"))
    return FileError(
        "the images need an atlas or a mask, which says what their regions are",
        code="NT-FILE-006", path=path,
        found=f"images {image.name}; " + ("masks " + ", ".join(masks) if masks else "no masks"),
        fix=f"nt.load(path, labels={(masks or ['mask.nii.gz'])[0]!r}, ...)",
    )  # fmt: skip


# ---- runs end to end ----------------------------------------------------------------------------------
def _end_to_end(parts: dict[str, xr.DataTree], subject: Path) -> xr.DataTree:
    bolds = {name: signal(part) for name, part in parts.items()}
    _refuse_different(bolds, subject)
    first = next(iter(bolds.values()))
    bold = continuous(
        np.concatenate([one.to_numpy() for one in bolds.values()], axis=1),
        dim="region",
        labels=first["region"].to_numpy(),
        sfreq=first.attrs["sfreq"],
        t0=first.attrs["t0"],
        units=first.attrs["units"],
        coords={str(name): first[name] for name in first.coords if name not in {"region", "time"}},
        attrs={str(key): value for key, value in first.attrs.items() if key not in OF_THE_ARRAY},
    )
    # A region is covered as well as in its worst run.
    for name in ("n_voxels", "coverage"):
        bold[name] = ("region", np.min([one[name].to_numpy() for one in bolds.values()], axis=0))
    sizes = [one.sizes["time"] for one in bolds.values()]
    for axis in "xyz":
        bold[axis].attrs["units"] = "m"
    lost = max(one.attrs["n_voxels_not_finite"] for one in bolds.values())
    bold.attrs["n_voxels_not_finite"] = lost
    bold = bold.assign_coords(session=("time", np.repeat(list(parts), sizes)))
    nodes: dict[str, xr.Dataset | xr.DataArray] = {"fmri/bold": bold}
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]) * first.attrs["tr"]
    if _everywhere("events", parts, subject):
        nodes["events"] = _joined_events(parts, starts)
    if _everywhere("confounds", parts, subject):
        tables = [_table(part, "confounds").drop_vars("time") for part in parts.values()]
        confounds = xr.concat(tables, "time", join="exact", combine_attrs="override")
        nodes["confounds"] = confounds.assign_coords(
            time=bold["time"].variable, session=bold["session"].variable
        )
    return recording_tree(nodes, subject=subject.name, **_keys(subject, next(iter(parts))))


def _keys(subject: Path, run: str) -> dict[str, str | None]:
    """What the keys of the data set say of the study and of the task of a run."""
    said: dict[str, str | None] = {}
    if (study := subject.parent / "study_key.txt").is_file():
        said["study"] = _key(study)
    if (tasks := subject.parent / "task_key.txt").is_file():
        words = dict(line.strip().partition(" ")[::2] for line in _key(tasks).splitlines())
        said["task_name"] = words.get(run.partition("_")[0], "").strip() or None
    return said


def _key(file: Path) -> str:
    with reading(file, "the key"):
        return file.read_text(encoding="utf-8").strip()


def _refuse_different(bolds: dict[str, xr.DataArray], subject: Path) -> None:
    (name, first), *others = bolds.items()
    for other_name, other in others:
        for what, one, two in (
            ("repetition time", first.attrs["tr"], other.attrs["tr"]),
            ("regions", first["region"].to_numpy().tolist(), other["region"].to_numpy().tolist()),
        ):
            if one != two:
                raise SchemaError(
                    f"runs differ in their {what}, so they cannot lie on one clock and one set of rows",
                    code="NT-DATA-005", path=subject, where=f"{name} and {other_name}",
                    found=f"{len(two)} and {len(one)} regions" if isinstance(one, list) else f"{two:g} s",
                    expected="the same in both" if isinstance(one, list) else f"{one:g} s",
                    fix="load the runs one by one",
                )  # fmt: skip


def _everywhere(node: str, parts: dict[str, xr.DataTree], subject: Path) -> bool:
    having = [name for name, part in parts.items() if node in part.children]
    if having and len(having) < len(parts):
        lacking = [name for name in parts if name not in having]
        raise FileError(
            f"some runs have {node} and others have not",
            code="NT-FILE-008", path=subject, found="none in " + ", ".join(lacking),
            fix="load the runs one by one",
        )  # fmt: skip
    return bool(having)


def _table(part: xr.DataTree, name: str) -> xr.Dataset:
    return part.children[name].to_dataset(inherit=False)


def _joined_events(parts: dict[str, xr.DataTree], starts: np.ndarray) -> xr.Dataset:
    shifted = []
    for (name, part), start in zip(parts.items(), starts, strict=True):
        events = _table(part, "events").drop_vars("event")
        onset = events["onset"].copy(data=events["onset"].to_numpy() + start)
        session = ("event", np.full(events.sizes["event"], name))
        shifted.append(events.assign(onset=onset, session=session))
    joined = xr.concat(shifted, "event", join="exact", combine_attrs="override")
    return joined.assign_coords(event=np.arange(joined.sizes["event"]))


def is_openfmri(path: Path) -> bool:
    """Whether a folder is an OpenfMRI data set, one of its subjects or one of its runs."""
    if not path.is_dir():
        return False
    if RUN.fullmatch(path.name):
        return any(path.glob("bold*.nii*"))
    bold = [path / "BOLD", *path.glob("sub*/BOLD")]
    return any(RUN.fullmatch(run.name) for folder in bold if folder.is_dir() for run in folder.iterdir())


FORMATS = {"openfmri": is_openfmri}
