"""What the numbers of a dynamic connectome are not: said plainly, and with this fit's own numbers."""

from __future__ import annotations

import numpy as np

from neurotools.report.methods import model_settings, single_recording, unit_word
from neurotools.report.summary import Results

STABLE = 0.9  # median similarity of restarts below which motifs are called unstable

NOT_UNIQUE = (
    "With one recording and the layout 'pair' the model is a non-negative matrix factorisation, which "
    "in general "
    "has more than one solution (Donoho and Stodden, 2003). The similarity of restarts below shows how "
    "far the "
    "motifs depend on the random start; it cannot show that they are the only ones."
)


def urgent(results: Results) -> list[str]:
    """What must be read before any number: no convergence, unstable motifs."""
    points = []
    if not int(results.fit.attrs.get("converged", 0)):
        points.append(
            "The factorisation had not converged when it was stopped. Raise max_iter before using these "
            "motifs."
        )
    similarity = results.restart_similarity
    if similarity is not None and similarity < STABLE:
        points.append(
            f"Different random starts give different motifs (median similarity {similarity:.2f}, where 1 "
            "is the "
            "same). Read single motifs as one description of the data among several."
        )
    return points


def limits(results: Results) -> list[str]:
    """Everything that a reader should know before citing the numbers."""
    fit, unit = results.fit, unit_word(results.fit)
    points = []
    if fit.attrs.get("kernel", "geomean") not in {"corr_window", "mtd", "edge"}:
        points.append(
            "The affinity is of the kind that the published method describes, but its exact formula "
            "there is not "
            "confirmed. This is not a reproduction of the published results."
        )
    if model_settings(fit).get("layout", "pair") == "pair" and single_recording(fit):
        points.append(NOT_UNIQUE)
    error = float(fit.attrs.get("relative_error", float("nan")))
    if np.isfinite(error):
        points.append(
            f"The motifs account for {100 * max(0.0, 1 - error**2):.0f} % of the affinities' sum of "
            "squares (relative "
            f"error {error:.4f}). What is left over is not shown."
        )
    points.append(
        f"An affinity says that two {unit}s change together. It is neither a synapse nor a cause, and a "
        "common "
        "input or movement can produce it."
    )
    if results.communities is not None:
        points.append(
            "Communities are numbered within their motif: community 1 of one motif is not community 1 of "
            "another. They are the partition with the shortest description found, not the only good one."
        )
        points += _no_communities(results)
    if results.connectome is not None:
        points.append("Intervals depend on the threshold; another threshold moves their edges.")
    if results.null is not None:
        points += _not_above_chance(results)
        if results.null.attrs.get("surrogate") != "common_phases":
            points.append(
                f"Above chance means that {unit}s are coupled more than shifted ones. A coupling that never "
                "changes is, too; whether a motif comes and goes, surrogates with common phases say."
            )
    if results.silent:
        points.append(f"{results.silent} of {results.n_units} {unit}s take part in no motif at all.")
    return points


def _not_above_chance(results: Results) -> list[str]:
    assert results.null is not None
    p = results.null["p_corrected"]
    low = [
        str(name) for name, value in zip(p["component"].to_numpy(), p.to_numpy(), strict=True) if value > 0.05
    ]
    if not low:
        return []
    return [
        f"Motif {', '.join(low)} is not told from what {results.null.sizes['surrogate']} surrogates show, in "
        "which units are not coupled, or not in a changing way: it may be chance."
    ]


def _no_communities(results: Results) -> list[str]:
    saved = results.saved
    if saved is None:
        return []
    none = [str(name) for name, value in saved.items() if not value > 0]
    if not none:
        return []
    return [
        f"For motif {', '.join(none)} one block describes the data as well: no communities are claimed there."
    ]
