"""Sentences of a dynamic connectome's page about its tests: chance, resampled data, conditions."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from neurotools.report.literature import LITERATURE
from neurotools.report.methods import Methods, unit_word
from neurotools.report.summary import Results

ALPHA = 0.05
NULLS = {
    "circular_shift": "every {unit} was shifted circularly by its own random amount",
    "phase_randomise": "every {unit} was given random phases, with its spectrum kept",
    "common_phases": "all {unit}s were given the same random phases, which keeps their correlations",
}


def against_chance(results: Results) -> str:
    """How many motifs stand above surrogates, and which do not."""
    null = results.null
    assert null is not None
    p = null["p_corrected"].to_numpy()
    low = [str(name) for name, value in zip(null["component"].to_numpy(), p, strict=True) if value > ALPHA]
    how = NULLS[str(null.attrs["surrogate"])].format(unit=unit_word(results.fit))
    least = 1 / (1 + null.sizes["surrogate"])
    text = (
        f"{p.size - len(low)} of {p.size} motifs are stronger, in time that they were not learned "
        "from, than in "
        f"{null.sizes['surrogate']} surrogates in which {how} (p at most {ALPHA:g}, corrected for the "
        "number of "
        f"motifs; the smallest p that so many surrogates allow is {least:.2g})."
    )
    return text + (f" Not told from chance: motif {', '.join(low)}." if low else "")


def between(results: Results) -> str:
    """Which motifs change between conditions."""
    table = results.conditions
    if table is None:
        return ""
    over = str(table.attrs.get("over", "epoch"))
    p = table["p_corrected"].to_numpy()
    names = table["component"].to_numpy()
    changed = [str(name) for name, value in zip(names, p, strict=True) if value <= ALPHA]
    counts = ", ".join(
        f"{name} ({int(n)} {over}s)"
        for name, n in zip(table["condition"].to_numpy(), table["n_epochs"].to_numpy(), strict=True)
    )
    said = (
        f"Motif {', '.join(changed)} changes" if len(changed) == 1 else f"Motifs {', '.join(changed)} change"
    )
    return f"{said if changed else 'No motif is shown to change'} between {counts}."


def methods_of_tests(written: Methods, results: Results) -> Methods:
    """A methods section with a paragraph on the tests that were made."""
    null, uncertainty, conditions = results.null, results.uncertainty, results.conditions
    parts, cited = [], []
    if null is not None:
        parts.append(_null(null, unit_word(results.fit)))
        cited += ["westfall"]
    if uncertainty is not None:
        parts.append(_resampling(uncertainty))
        cited += ["kuensch"]
    if conditions is not None:
        parts.append(_conditions(conditions))
        cited += ["westfall"]
    if not parts:
        return written
    references = [LITERATURE[key][1:] for key in dict.fromkeys(cited)]
    *before, software = written.paragraphs
    return replace(
        written,
        paragraphs=(*before, " ".join(parts), software),
        references=(*written.references, *references),
    )


def _null(null: xr.Dataset, unit: str) -> str:
    how = NULLS[str(null.attrs["surrogate"])].format(unit=unit)
    return (
        f"To test motifs, time was cut into {null.attrs['n_stretches']} stretches; motifs were learned from "
        "every other one, matched with those reported, and the length of their time course, by non-negative "
        "least squares of all motifs together, was measured in the others, and the other way round. The same "
        f"was done in {null.attrs['n_null']} surrogates in which {how}; p-values compare the standardised "
        "length with the largest of any motif in every surrogate ({}).".format(LITERATURE["westfall"][0])
    )


def _resampling(uncertainty: xr.Dataset) -> str:
    n = uncertainty.sizes.get("replicate", 0)
    what = "subjects" if uncertainty.attrs.get("over") == "subject" else "stretches of time"
    text = f"Uncertainty is that of {n} data sets of {what} drawn with replacement "
    text += f"({LITERATURE['kuensch'][0]}): motifs were learned anew and matched with those reported, "
    text += "their intervals were cut by the same rule"
    return text + (", and a block model was fitted to each." if "coassignment" in uncertainty else ".")


def _conditions(conditions: xr.Dataset) -> str:
    over = conditions.attrs.get("over", "epoch")
    return (
        f"Conditions were compared by the variance of mean loadings between them over that within (F, over "
        f"{over}s), against {conditions.attrs.get('n_permutations')} permutations of the labels"
        + (" within sessions" if over == "epoch" else "")
        + ", corrected by the largest standardised statistic of any motif ({}).".format(
            LITERATURE["westfall"][0]
        )
    )
