"""The page of a bi-clustering: who shares a latent, when the rules change, how far to trust it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from neurotools.plot import bicluster_figures
from neurotools.report import bicluster_words as words
from neurotools.report import summary, tables
from neurotools.report.bicluster_words import Found
from neurotools.report.page import (
    Block,
    Code,
    Facts,
    Figure,
    Note,
    References,
    Section,
    Table,
    Text,
    build_report,
)

TSV = "The whole table stands in the folder 'tables' beside this page."


def bicluster_report(
    recording: xr.DataTree | xr.DataArray | None,
    post: xr.DataTree,
    partition: xr.Dataset,
    *,
    latents: xr.Dataset | None = None,
    similarity: xr.DataArray | None = None,
    convergence: xr.Dataset | None = None,
    check: xr.Dataset | None = None,
    settings: Any = None,
    provenance: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> str:
    """Make the self-contained HTML page of a bi-clustering.

    Parameters
    ----------
    recording : xarray.DataTree, xarray.DataArray or None
        What was analysed.
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``.
    partition, latents, similarity, convergence, check : xarray.Dataset, xarray.DataArray
        From ``nt.point_partition``, ``nt.cluster_latents``, ``nt.state_similarity``, ``nt.convergence`` and
        ``nt.posterior_check``.
    settings : dataclass or mapping, optional
        Settings of the pipeline.
    provenance : mapping, optional
        Seeds, versions, hashes, threads, time and memory, as the runner records them.
    figures : mapping of str to Figure, optional
        Drawn already; otherwise ``nt.plot.bicluster_figures`` draws them.
    title : str, optional

    Returns
    -------
    str
        HTML text.
    """
    facts = dict(provenance or {})
    recording = summary.described(recording, facts)
    if figures is None:
        figures = bicluster_figures(
            post, partition, latents=latents, similarity=similarity, convergence=convergence, check=check,
            recording=recording,
        )  # fmt: skip
    found = Found(post, partition, convergence, check)
    pictures = _Pictures(figures, found)
    written = words.methods(found, recording, facts.get("versions"))
    urgent = words.urgent(found)
    sections = [
        Section(
            "At a glance",
            [
                *([Note(urgent, warn=True)] if urgent else []),
                Text(words.sentence(found)),
                *pictures("states", "latents"),
            ],
        ),
        Section("Who belongs together", _units(partition, pictures), short="Units"),
        Section("When the rules change", _time(partition, pictures), short="States"),
        Section("Rates", pictures("rates")),
        Section("How far to trust it", _trust(found, pictures), short="Trust"),
        _recording(recording),
        Section("More figures", pictures.rest()),
        Section("What these numbers are not", [Note(words.limits(found), warn=True)], short="Limits"),
        Section("Methods", [*map(Text, written.paragraphs), References(written.references)]),
        Section("Provenance", _provenance(facts, post)),
        Section("Do it again", _again(post, partition, facts), short="Again"),
    ]
    name = title or _title(recording, facts)
    return build_report(
        name,
        [section for section in sections if section.blocks],
        subtitle="Which units share a latent, and when do the rules change?",
        eyebrow="neurotools · bi-clusters",
        cards=words.cards(found, facts),
    )


def _title(recording: xr.DataTree | xr.DataArray | None, facts: Mapping[str, Any]) -> str:
    title = summary.title_of(recording, facts)
    return "Bi-clusters" if title == "Dynamic connectome" else title


class _Pictures:
    """Hands out figures by name as blocks of the page, each once, and at last those that nobody asked for."""

    def __init__(self, figures: Mapping[str, Any], found: Found) -> None:
        self.left, self.found = dict(figures), found

    def __call__(self, *names: str) -> list[Block]:
        return [self._block(name) for name in names if name in self.left]

    def rest(self) -> list[Block]:
        return [self._block(name) for name in list(self.left)]

    def _block(self, name: str) -> Block:
        title, text, alt = words.caption(name, self.found)
        return Figure(self.left.pop(name), text, alt, title)


# ---- sections ---------------------------------------------------------------------------------------------
def _units(partition: xr.Dataset, pictures: _Pictures) -> list[Block]:
    note = "Confidence is the mean probability of sharing a cluster with the others of one's own."
    return [*pictures("units", "numbers"), Table(_members(partition), "Clusters and their units", note, TSV)]


def _members(partition: xr.Dataset) -> pd.DataFrame:
    """One row per cluster, with its members."""
    labels, units = partition["unit_label"].to_numpy(), partition["unit"].to_numpy()
    sure = partition["unit_confidence"].to_numpy()
    rows = [
        {
            "cluster": label,
            "units": int((labels == label).sum()),
            "mean confidence": float(sure[labels == label].mean()),
            "members": ", ".join(map(str, units[labels == label])),
        }
        for label in range(int(labels.max()) + 1)
    ]
    return pd.DataFrame(rows)


def _time(partition: xr.Dataset, pictures: _Pictures) -> list[Block]:
    labels = partition["state_label"].to_numpy()
    sure = partition["state_confidence"].to_numpy()
    rows = [
        {
            "state": label,
            "share of time (%)": 100 * float((labels == label).mean()),
            "visits": int(((labels == label) & (_before(labels) != label)).sum()),
            "mean confidence": float(sure[labels == label].mean()),
        }
        for label in range(int(labels.max()) + 1)
    ]
    more = "Each visit stands in tables/states.tsv beside this page."
    return [Table(pd.DataFrame(rows), "States", more), *pictures("state_similarity", "flow")]


def _before(labels: Any) -> Any:
    previous = labels.copy()
    previous[1:], previous[0] = labels[:-1], -1
    return previous


def _trust(found: Found, pictures: _Pictures) -> list[Block]:
    blocks: list[Block] = [*pictures("convergence", "calibration"), Text(_ball(found.partition))]
    if found.check is not None:
        p = found.check["p_value"]
        rows = [
            {
                "statistic": str(name),
                "observed, mean over units": float(found.check["observed"].sel(statistic=name).mean()),
                "replicated": float(found.check["replicated"].sel(statistic=name).mean()),
                "units with p < 0.025 or p > 0.975": int(
                    ((p.sel(statistic=name) < 0.025) | (p.sel(statistic=name) > 0.975)).sum()
                ),
            }
            for name in p["statistic"].to_numpy()
        ]
        blocks.append(Table(pd.DataFrame(rows), "Counts beside replicates of the model"))
    return blocks


def _ball(partition: xr.Dataset) -> str:
    share = 100 * float(partition.attrs["coverage"])
    said = []
    for name, dim in (("unit", "clusters"), ("state", "states")):
        number = partition[f"{name}_bound"].max("unit" if name == "unit" else "time") + 1
        unit = partition[f"{name}_radius"].attrs.get("units", "")
        said.append(
            f"{share:.0f} % of the partitions into {dim} lie within "
            f"{float(partition[f'{name}_radius']):.3f}{' nats' if unit == 'nat' else ''} of the estimate; "
            f"the coarsest of them has {int(number.sel(bound='coarsest'))} {dim}, the finest "
            f"{int(number.sel(bound='finest'))}."
        )
    return " ".join(said)


def _recording(recording: xr.DataTree | xr.DataArray | None) -> Section:
    if recording is None:
        return Section("Recording")
    blocks: list[Block] = [Facts(summary.recording_facts(recording))]
    if isinstance(recording, xr.DataTree):
        blocks.append(Table(tables.node_table(recording), "What the recording holds"))
    return Section("Recording", blocks)


def _provenance(facts: Mapping[str, Any], post: xr.DataTree) -> list[Block]:
    shell = summary.Results(None, xr.Dataset(attrs=dict(post.attrs)), None, None)
    chosen = json.loads(str(post.attrs.get("settings", "{}")))
    blocks: list[Block] = [
        Facts(summary.provenance_facts(facts, shell)),
        Code(json.dumps(chosen, indent=2), "Settings of the model", folded=True),
    ]
    if facts:
        text = json.dumps(facts, indent=2, default=str)
        blocks.append(Code(text, "Everything recorded, as in provenance.json", folded=True))
    return blocks


def _again(post: xr.DataTree, partition: xr.Dataset, facts: Mapping[str, Any]) -> list[Block]:
    told = post.attrs
    source = str(facts.get("source") or facts.get("recording") or "SOURCE")
    lines = [
        "import neurotools as nt",
        "",
        f"recording = nt.load({source!r})",
        "counts = recording['counts/counts']  # or nt.bin_spikes(recording, width_s=...)",
        "model = nt.build('bicluster', **SETTINGS)  # as under Provenance",
        f"post = model.sample(counts, draws={told.get('draws')}, tune={told.get('tune')}, "
        f"chains={told.get('chains')})",
        f"partition = nt.point_partition(post, loss={partition.attrs['loss']!r})",
        "nt.plot.plot_unit_similarity(partition)",
    ]
    return [
        Code(summary.command({"pipeline": "bicluster", **facts}), "From the command line"),
        Code("\n".join(lines), "From Python"),
        Text("The same seed and settings give the same draws; the content hash above says so."),
    ]
