"""BIDS: which recordings of a tree are meant, and what makes an output a derivative.

Filters are those of BIDS apps: labels of participants, sessions and tasks, and a filter file as fMRIPrep
reads it. A label that no recording has is an error, so that a slip of the pen does not analyse nothing.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurotools._version import __version__
from neurotools.errors import FileError, SettingsError, did_you_mean

from .sources import Found, Source

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
# Words of filter files -> entities in file names (BIDS 1.10, appendix on entities).
ENTITIES = {
    "subject": "sub", "session": "ses", "task": "task", "acquisition": "acq", "run": "run",
    "reconstruction": "rec", "direction": "dir", "echo": "echo", "space": "space", "resolution": "res",
    "description": "desc", "processing": "proc", "recording": "recording",
}  # fmt: skip
BESIDE_ENTITIES = ("suffix", "datatype", "extension")  # what else a query may name


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which recordings are meant: for each entity the labels that it may have."""

    labels: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    by_suffix: Mapping[str, Mapping[str, tuple[str, ...]]] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.labels or self.by_suffix)

    def admits(self, source: Source) -> bool:
        """Whether a recording is meant."""
        entities, suffix = parsed(source.path)
        wanted = {**self.labels, **self.by_suffix.get(suffix, {})}
        return all(_matches(entities.get(entity), labels) for entity, labels in wanted.items())


def gathered(
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    tasks: Sequence[str] = (),
    file: str | Path | None = None,
) -> Filter:
    """The filter that the options of a command line describe; ``sub-01`` and ``01`` are the same label."""
    given = {"sub": participants, "ses": sessions, "task": tasks}
    labels = {
        entity: tuple(label.removeprefix(f"{entity}-") for label in words)
        for entity, words in given.items()
        if words
    }
    return Filter(labels, {} if file is None else _read(Path(file)))


def chosen(found: Found, wanted: Filter) -> Found:
    """The recordings that a filter admits.

    Raises
    ------
    SettingsError
        A label that no recording has, or nothing that all filters admit together.
    """
    if not wanted:
        return found
    known = [parsed(source.path)[0] for source in found.recordings]
    for entity, labels in wanted.labels.items():
        there = sorted({entities[entity] for entities in known if entity in entities})
        for label in labels:
            if not any(_matches(one, (label,)) for one in there):
                raise SettingsError(
                    f"no recording has {entity}-{label}.{did_you_mean(label, there)}", code="NT-SET-001",
                    found=", ".join(there[:12]) or f"no name with {entity}-",
                    fix="labels stand in the names of files: sub-01_task-rest_eeg.edf",
                )  # fmt: skip
    kept = tuple(source for source in found.recordings if wanted.admits(source))
    if not kept:
        raise SettingsError(
            "no recording passes all filters together", code="NT-DATA-010",
            found=f"{len(found.recordings)} recordings before",
            fix="neurotools info SOURCE lists their names",
        )  # fmt: skip
    return dataclasses.replace(found, recordings=kept)


def parsed(path: str) -> tuple[dict[str, str], str]:
    """Entities and suffix of a BIDS name: ``sub-01_task-rest_eeg.edf`` has two, and the suffix ``eeg``."""
    stem = Path(path).name.split(".")[0]
    *pairs, suffix = stem.split("_")
    return dict(pair.split("-", 1) for pair in pairs if "-" in pair), suffix


def _matches(label: str | None, wanted: Sequence[str]) -> bool:
    if label is None:
        return False
    # Runs and echoes are numbers: 1 and 01 are the same.
    return any(
        label == one or (label.isdigit() and one.isdigit() and int(label) == int(one)) for one in wanted
    )


def _read(file: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """A filter file: suffix or name of a query -> words of entities -> label or labels."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"the filter file cannot be read: {error}", path=file) from error
    if not isinstance(content, dict) or not all(isinstance(query, dict) for query in content.values()):
        raise SettingsError(
            "a filter file maps a kind of image to entities", path=str(file),
            expected='{"bold": {"task": "rest", "session": ["01", "02"]}}',
        )  # fmt: skip
    return {
        str(query.get("suffix", name)): dict(_entity(word, value, file) for word, value in query.items()
                                             if word not in BESIDE_ENTITIES)
        for name, query in content.items()
    }  # fmt: skip


def _entity(word: str, value: Any, file: Path) -> tuple[str, tuple[str, ...]]:
    if word not in ENTITIES:
        raise SettingsError(
            f"there is no entity {word!r}.{did_you_mean(word, ENTITIES)}", code="NT-SET-001", path=str(file),
            expected="one of " + ", ".join(ENTITIES),
        )  # fmt: skip
    labels = value if isinstance(value, list) else [value]
    short = ENTITIES[word]
    return short, tuple(re.sub(f"^{short}-", "", str(label)) for label in labels)


# ---- what is written ------------------------------------------------------------------------------------
def description(pipeline: str, sources: Sequence[Source]) -> dict[str, Any]:
    """``dataset_description.json`` of an output: a derivative, made by this pipeline, of these data."""
    roots = sorted({root_of(source.where()).as_uri() for source in sources})
    return {
        "Name": f"{pipeline} of neurotools",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "neurotools", "Version": __version__, "Description": pipeline}],
        "SourceDatasets": [{"URL": root} for root in roots],
    }


def root_of(path: Path) -> Path:
    """The BIDS tree that a file stands in, or else its folder."""
    return next((up for up in path.parents if (up / DESCRIPTION).is_file()), path.parent)


# BIDS has no names yet for results in netCDF, tables and pages; validators are told to pass over them.
IGNORED = "*/\n*.nc\n*.html\n*.tsv\n*.yaml\nmanifest.json\nprovenance.json\n"
