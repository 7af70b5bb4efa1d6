"""Captions of a report's figures, and what each shows for readers who cannot see it, with its numbers."""

from __future__ import annotations

from collections.abc import Callable

from neurotools.plot.reading import components
from neurotools.report.methods import unit_word
from neurotools.report.summary import Results

Told = tuple[str, str, str]  # title, caption, alternative text


def caption(name: str, results: Results) -> Told:
    """Title, caption and alternative text of a figure by its name; a plain one for names not known."""
    if name in CAPTIONS:
        return CAPTIONS[name](results)
    words = name.replace("_", " ").replace("-", " ")
    return words.capitalize() + ".", "", f"Figure of this analysis: {words}."


def _time_loadings(results: Results) -> Told:
    fit = results.fit
    loading = fit["time_loading"].transpose("component", "time")
    peaks = fit["time"].to_numpy()[loading.to_numpy().argmax(axis=1)]
    at = ", ".join(f"motif {c} at {peak:.4g} s" for c, peak in zip(components(fit), peaks, strict=True))
    shaded = " Shaded: the motif is active." if results.connectome is not None else ""
    return (
        "When each motif is engaged.",
        "One trace per motif, each scaled to its own largest value; stimulus, behaviour and events, "
        "where the "
        f"recording has them, stand above on the same clock.{shaded}",
        f"{loading.sizes['component']} stacked traces over {results.duration_s:.4g} seconds. They peak: "
        f"{at}.",
    )


def _motifs(results: Results) -> Told:
    unit, n = unit_word(results.fit), results.n_units
    count = components(results.fit).size
    if results.communities is None:
        return (
            "Motifs.",
            f"Affinity between {unit}s in each motif.",
            f"{count} matrices of {n} by {n} {unit}s.",
        )
    counts = [f"motif {c} has {results.n_communities(c)}" for c in components(results.fit)]
    return (
        "Motifs, sorted by community.",
        f"Affinity between {unit}s in each motif, on one colour scale. The strongest community stands "
        "first; a "
        "frame and a number mark each. Values above the end of the scale have its darkest colour.",
        f"{count} square matrices of {n} by {n} {unit}s, sorted by community: {', '.join(counts)} "
        "communities.",
    )


def _circuits(results: Results) -> Told:
    unit = unit_word(results.fit)
    return (
        "The same as circuits.",
        f"The strongest links of the largest motifs; {unit}s without any are left out. Links inside a "
        "community "
        "have its colour, links between communities are grey; larger dots take more part.",
        f"Up to four circles of {unit}s, grouped by community, joined by arcs whose width is the strength of "
        "their affinity.",
    )


def _over_time(results: Results) -> Told:
    unit = unit_word(results.fit)
    return (
        "Communities while a motif is active.",
        f"Each {unit}'s community in the motif that carries most at that moment (dark in the lanes "
        "above; pale: "
        "active too). Fuller colour: the more it takes part. White: no motif is active. Numbers of "
        "communities "
        "hold within a motif.",
        f"Raster of {results.n_units} {unit}s over {results.duration_s:.4g} seconds, coloured by "
        "community; the table "
        "of intervals below has the same content.",
    )


def _unit_loadings(results: Results) -> Told:
    unit = unit_word(results.fit)
    return (
        f"Who takes part: {unit}s.",
        f"How much each {unit} takes part in each motif, scaled to the largest in the motif, grouped by "
        "the motif "
        "where it is strongest.",
        f"Heat map of {components(results.fit).size} motifs by {results.n_units} {unit}s.",
    )


def _subject_loadings(results: Results) -> Told:
    subjects = results.fit["subject"].to_numpy()
    return (
        "Who takes part: subjects.",
        "How strongly each motif is present in each subject.",
        f"Heat map of {components(results.fit).size} motifs by {subjects.size} subjects.",
    )


def _restart_similarity(results: Results) -> Told:
    similarity = results.restart_similarity
    n = results.fit.sizes["restart"]
    return (
        "Do other random starts find the same?",
        "Similarity of the motifs of every two restarts, best restart first; 1 means the same motifs up "
        "to their "
        "order.",
        f"Matrix of {n} by {n} restarts; the median similarity between two is "
        f"{similarity or float('nan'):.2f} of 1.",
    )


def _error(results: Results) -> Told:
    error = results.fit["error"].to_numpy()
    return (
        "Error per sweep.",
        "Relative error of the restart that was kept; inset: final errors of all restarts.",
        f"Line falling from {error[0]:.4f} to {error[-1]:.4f} over {error.size} sweeps.",
    )


def _rank_scan(results: Results) -> Told:
    return (
        "How many motifs?",
        "Error of fitted and of held-out data against the number of motifs; held-out error that rises "
        "again says "
        "that there are too many.",
        "Lines of fitted and held-out relative error against the rank.",
    )


def _motif_null(results: Results) -> Told:
    assert results.null is not None
    above = [str(c) for c, p in zip(components(results.fit), results.null["p_corrected"].to_numpy(),
                                    strict=True) if p <= 0.05]  # fmt: skip
    return (
        "Which motifs stand above chance?",
        "Motifs were learned from every other stretch of time and measured in the stretches between. "
        "Grey: the "
        f"same in {results.null.sizes['surrogate']} surrogates; p-values are corrected for the number "
        "of motifs.",
        f"Dots of strength over that of surrogates; above chance: {', '.join(above) or 'none'}.",
    )


def _active_prob(results: Results) -> Told:
    assert results.uncertainty is not None
    support = results.uncertainty["interval_support"].to_numpy()
    return (
        "How sure are the intervals?",
        "Height: share of resampled data in which a motif is active at that moment. Bars: the "
        "intervals of all "
        "data, the fainter the fewer replicates have them; thin lines: 90 % of their beginnings and ends.",
        f"Rows of probabilities over time; intervals are found again in {100 * support.mean():.0f} % of the "
        "replicates on average."
        if support.size
        else "Rows of probabilities over time.",
    )


def _coassignment(results: Results) -> Told:
    unit = unit_word(results.fit)
    return (
        "How firm are the communities?",
        f"Share of resampled data in which two {unit}s are of one community, sorted by the communities "
        "of all "
        "data: dark squares on the diagonal are communities that do not depend on which moments were "
        "recorded.",
        f"Square matrices of shares from 0 to 1 between {unit}s, one per motif.",
    )


def _conditions(results: Results) -> Told:
    assert results.conditions is not None
    table = results.conditions
    changed = [str(c) for c, p in zip(table["component"].to_numpy(), table["p_corrected"].to_numpy(),
                                      strict=True) if p <= 0.05]  # fmt: skip
    return (
        "Which motifs change between conditions?",
        f"Mean loading of every motif in {', '.join(map(str, table['condition'].to_numpy()))}, and its "
        "standard "
        f"error. p-values by {table.attrs.get('n_permutations', '?')} permutations, corrected for the "
        "number of "
        "motifs.",
        f"Dots of mean loadings by motif and condition; changed: {', '.join(changed) or 'none'}.",
    )


def _description_length(results: Results) -> Told:
    saved = {} if results.saved is None else results.saved
    told = ", ".join(f"motif {name} {value:.0f} nats" for name, value in saved.items())
    return (
        "Are there communities?",
        "Nats saved over a single block by each variant of the block model; right of 0 the motif is "
        "described "
        "better with communities.",
        f"Dots per motif of nats saved over one block. Best of each: {told}.",
    )


def _traces(results: Results) -> Told:
    return (
        "The recording.",
        "All rows over time, sorted by the time of their largest value.",
        "Heat map of the recording over time, sorted by peak time.",
    )


def _quality(results: Results) -> Told:
    return (
        "Which rows carry signal?",
        "Standard deviation over time of each row; rows that never change and rows with missing values "
        "are named.",
        "Dots of standard deviation, most variable row first.",
    )


CAPTIONS: dict[str, Callable[[Results], Told]] = {
    "time_loadings": _time_loadings, "motifs": _motifs, "circuits": _circuits,
    "communities_over_time": _over_time, "unit_loadings": _unit_loadings,
    "subject_loadings": _subject_loadings, "restart_similarity": _restart_similarity, "error": _error,
    "motif_null": _motif_null, "active_prob": _active_prob, "coassignment": _coassignment,
    "conditions": _conditions, "rank_scan": _rank_scan, "description_length": _description_length,
    "traces": _traces, "quality": _quality,
}  # fmt: skip
