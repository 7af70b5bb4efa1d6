"""The page of a bi-clustering: who shares a latent, when the rules change, how far to trust it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from neurotools.plot import bicluster_figures
from neurotools.report import bicluster_words as words
from neurotools.report import summary
from neurotools.report.bicluster_words import Found
from neurotools.report.endings import Pictures, again_section, provenance_section, recording_section
from neurotools.report.page import (
    Block,
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
    pictures = Pictures(figures, lambda name: words.caption(name, found))
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
        recording_section(recording),
        Section("More figures", pictures.rest()),
        Section("What these numbers are not", [Note(words.limits(found), warn=True)], short="Limits"),
        Section("Methods", [*map(Text, written.paragraphs), References(written.references)]),
        provenance_section(facts, post.attrs, json.loads(str(post.attrs.get("settings", "{}")))),
        again_section({"pipeline": "bicluster", **facts}, _python(post, partition, facts)),
    ]
    name = title or summary.title_of(recording, facts, "Bi-clusters")
    return build_report(
        name,
        [section for section in sections if section.blocks],
        subtitle="Which units share a latent, and when do the rules change?",
        eyebrow="neurotools · bi-clusters",
        cards=words.cards(found, facts),
    )


# ---- sections ---------------------------------------------------------------------------------------------
def _units(partition: xr.Dataset, pictures: Pictures) -> list[Block]:
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


def _time(partition: xr.Dataset, pictures: Pictures) -> list[Block]:
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


def _trust(found: Found, pictures: Pictures) -> list[Block]:
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


def _python(post: xr.DataTree, partition: xr.Dataset, facts: Mapping[str, Any]) -> str:
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
    return "\n".join(lines)
