"""The built site and a report of every pipeline in a headless browser, on a phone and on a desktop."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import neurotools as nt
from benchmarks import browser
from benchmarks.record import ROOT, DataAbsentError, Row
from neurotools import schema

SITE = ROOT / "docs" / "_build" / "html"
PAGES = (
    "index.html", "start.html", "validation.html", "coming-from.html", "dynamic-connectome.html",
    "how-to/cluster.html", "gallery/index.html", "gallery/tutorials/index.html",
    "gallery/tutorials/plot_1_hidden_states.html", "gallery/plot_01_which_units_work_together.html",
    "api/index.html", "api/generated/neurotools.NTF.html",
)  # fmt: skip
SHORT = ("bin_width_s=0.2", "stop_s=20", "draws=20", "tune=20", "chains=2", "min_rate_hz=2")
# Pipeline -> source and settings that make a report in seconds.
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "quality": ("eegmmidb", ()),
    "fmri-connectivity": ("regions", ("window_s=60",)),
    "dynamic-connectome": ("regions", ("rank=2", "n_restarts=2", "smooth_s=2")),
    "brain-states": ("counts", ("n_states=2", "n_restarts=1")),
    "choice-states": ("choices", ("n_states=2", "n_restarts=1")),
    "bicluster": ("m1-reaching", SHORT),
    "encoder-pretrain": ("eegmmidb", ("encoder=elm-nano", "length_s=1", "steps=4")),
    "encoder-probe": ("eegmmidb", ("length_s=1",)),
}


def in_browser() -> list[Row]:
    """Errors in the console, widths, texts for pictures, and requests to the network."""
    if not (SITE / "index.html").is_file():
        raise DataAbsentError("the built site (make docs)")
    browser.program()
    with tempfile.TemporaryDirectory() as scratch:
        reports = made(Path(scratch))
        return [*judged("site", [SITE / page for page in PAGES]), *judged("reports", reports)]


def judged(what: str, pages: list[Path]) -> list[Row]:
    """One row for each fault that a page may have, over all pages and both widths."""
    seen = browser.look(pages)
    names = {width: sum(one.width == width for one in seen) for width in browser.WIDTHS}
    note = ", ".join(f"{n} pages at {browser.WIDTHS[width]} pixels" for width, n in names.items())

    def row(words: str, faulty: list[str]) -> Row:
        return Row(f"{what}: {words}", len(faulty), "<= 0", note="; ".join(faulty[:4]) or note)

    with_text = sum(one.facts["text"] > 100 for one in seen) / len(seen)
    wide = [f"{one.page} ({one.width}) {one.facts['out']}" for one in seen if one.facts["wide"] > 0]
    return [
        Row(f"{what}: share of pages with text in them", with_text, ">= 1"),
        row("errors in the console", [f"{one.page}: {text}" for one in seen for text in one.errors]),
        row("pages wider than the window", wide),
        row("pictures without a text for those who cannot see them",
            [f"{one.page}: {src}" for one in seen for src in one.facts["without_alt"]]),
        row("letters smaller than 10 pixels", [f"{s.page} ({s.width})" for s in seen if s.facts["small"]]),
        row("requests to the network", [url for one in seen for url in one.elsewhere]),
        Row(f"{what}: pictures looked at", sum(one.facts["pictures"] for one in seen), ">= 1"),
    ]  # fmt: skip


def made(home: Path) -> list[Path]:
    """One report of every pipeline, from small recordings."""
    from neurotools.pipelines.runner import run

    sources = {name: str(path) for name, path in recordings(home).items()}
    pages = []
    for pipeline, (source, settings) in RUNS.items():
        added = (
            (f"checkpoint={home / 'encoder-pretrain' / 'checkpoint'}",) if pipeline == "encoder-probe" else ()
        )
        outcome = run(
            pipeline, sources.get(source, source), home / pipeline, overrides=[*settings, *added], threads=1
        )
        if outcome.page is None:
            raise RuntimeError(f"{pipeline}: {outcome.records[0].error}")
        pages.append(outcome.page)
    several = home / "several"
    several.mkdir()
    for name in ("a", "b"):
        nt.save(nt.load(sources["regions"]), several / f"{name}.nc")
    pages.append(run("fmri-connectivity", several, home / "group", threads=1).out / "index.html")
    return pages


def recordings(home: Path) -> dict[str, Path]:
    """Small recordings of the kinds that no sample has."""
    rng = np.random.default_rng(20261121)
    mixed = rng.normal(size=(12, 4)) @ rng.normal(size=(4, 300)) + rng.normal(size=(12, 300))
    regions = schema.continuous(mixed, dim="region", sfreq=0.5, units="arbitrary")
    level = 0.2 + 0.4 * (np.arange(1500) // 150 % 2)
    counts = schema.counts_array(rng.poisson(level[:, None], size=(1500, 6)), bin_width=0.02)
    choices, _ = nt.simulate.switching_choices(n_sessions=3, n_trials=100, n_strategies=2, seed=0)
    trees = {
        "regions": schema.recording_tree({"fmri/bold": regions}),
        "counts": schema.recording_tree({"counts/counts": counts}),
        "choices": choices,
    }
    return {name: nt.save(tree, home / f"{name}.nc") for name, tree in trees.items()}
