"""How many components: the error of data that a factorisation has not seen, rank by rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.evaluate.core import core_consistency
from neurotools.evaluate.folds import CV, Fold
from neurotools.evaluate.surrogates import circular_shift
from neurotools.evaluate.tensors import TENSOR_CV, tensor_consistency
from neurotools.schema.affinity import affinity_parts

AGREE = 0.9  # mean cosine of matched components above which restarts found the same
SURPRISING = 3.0  # standard deviations by which a gain has to lie above that of surrogates
SURE = 2.0  # standard errors over folds by which a rank has to beat what does not change
Data = xr.Dataset | xr.DataArray


def rank_scan(
    model: Any, data: Any, ranks: Sequence[int], cv: str = "blocked-time", *, n_null: int = 0
) -> xr.Dataset:
    """Error of fitted and of held-out data for several ranks, how alike the restarts are, and a choice.

    A fold of ``blocked-time`` holds out a stretch of time **and** half of the pairs: motifs are learned
    without the stretch, their time courses in it are estimated from a random half of the pairs, and the other
    half is predicted; then the other way round. More components than there are predict worse, which they
    would not do if time courses were estimated from the very data that are scored. Owen and Perry (2009),
    Annals of Applied Statistics 3(2), for cross-validation of rows and columns together.

    Parameters
    ----------
    model : nt.NTF or nt.TensorModel
        Its ``rank`` is replaced; everything else is kept.
    data : xarray.Dataset or xarray.DataArray
        From ``nt.differential_affinity``, or a dense affinity; any labelled tensor for ``nt.TensorModel``.
    ranks : sequence of int
    cv : {"blocked-time", "leave-subject-out", "speckled"}
        What is held out: five stretches of time, at a distance that smoothing does not bridge; each subject
        in turn, whose clock has to be that of the others (its own loadings are then estimated); or a tenth of
        the single entries, five times, in runs of which only the middle is scored where the data were
        smoothed. A ``TensorModel`` knows ``speckled`` alone.
    n_null : int
        Circularly shifted surrogates of a factored affinity that the chosen rank is compared with. Units that
        have nothing to do with one another still share what one unit does with all its partners; only a
        surrogate knows how well that alone can be predicted. What the rank gains over the static prediction
        has to exceed that of every surrogate, and their mean by three standard deviations.

    Returns
    -------
    xarray.Dataset
        ``heldout_error`` (rank, fold), ``static_error`` (fold) of the prediction that every pair keeps its
        mean, ``relative_error`` (rank) of the fit to all data, ``restart_similarity`` (rank), the mean over
        pairs of restarts, ``core_consistency`` (rank) in per cent where the model has three modes or more,
        else NaN, and ``null_gain`` (surrogate) with ``attrs["gain"]``. attrs ``selected_rank``: of the ranks
        whose restarts agree (similarity at least 0.9; of all where none does), the smallest that predicts
        held-out data as well as the best of them, up to a standard error over folds. 0 says none: that rank
        does not beat the static prediction by two standard errors, or not the surrogates. attrs ``reason``
        says so in words; ``p_value`` is (1 + surrogates that gain as much) / (1 + surrogates).

    Raises
    ------
    SchemaError
        Too little time, or too few subjects, to hold any out; surrogates of what has no drives.
    """
    tensors = hasattr(model, "kind")
    table = TENSOR_CV if tensors else CV
    folds = lookup("cross-validation", "speckled" if tensors and cv == "blocked-time" else cv, table)
    ranks = [int(rank) for rank in ranks]
    if not ranks or len(set(ranks)) < len(ranks):
        raise SettingsError("ranks are needed, each once", found=ranks)
    if not tensors and affinity_parts(data).listed is not None:
        raise SchemaError(
            "a list of entries has no stretches to hold out", fix="pass the dense form of the affinity"
        )
    if n_null and not (isinstance(data, xr.Dataset) and "drive_up" in data):
        raise SchemaError(
            "surrogates need the factored form of an affinity",
            fix="pass the result of nt.differential_affinity, or n_null=0",
        )
    splits = list(folds(data, getattr(model, "loss", "l2"), model.seed))
    scan = scanned(model, data, ranks, splits, tensor_consistency if tensors else core_consistency)
    chosen, reason = select(scan, ranks)
    if chosen and n_null:
        scan, chosen, reason = against_surrogates(scan, model, data, folds, chosen=chosen, n_null=n_null)
    return scan.assign_attrs(
        cv=cv, selected_rank=chosen, reason=reason, seed=int(model.seed), n_null=int(n_null)
    )


def scanned(
    model: Any, data: Data, ranks: Sequence[int], splits: Sequence[Fold], consistency: Any
) -> xr.Dataset:
    """Every rank fitted to all data and to every fold."""
    heldout = np.empty((len(ranks), len(splits)))
    whole, alike, core = (np.empty(len(ranks)) for _ in range(3))
    for row, rank in enumerate(ranks):
        candidate = dataclasses.replace(model, rank=rank)
        fit = candidate.fit(data)
        whole[row], core[row] = fit.attrs["relative_error"], consistency(fit, data)
        similarity = fit["restart_similarity"].to_numpy()
        others = similarity[np.triu_indices(len(similarity), 1)]
        alike[row] = others.mean() if others.size else np.nan
        heldout[row] = [fold.error(fold.learn(candidate)) for fold in splits]
    return xr.Dataset(
        {
            "heldout_error": (("rank", "fold"), heldout),
            "static_error": ("fold", [fold.static for fold in splits]),
            "relative_error": ("rank", whole),
            "restart_similarity": ("rank", alike),
            "core_consistency": ("rank", core, {"units": "%"}),
        },
        coords={"rank": list(ranks), "fold": np.arange(len(splits))},
    )


# ---- choosing -----------------------------------------------------------------------------------------
def select(scan: xr.Dataset, ranks: Sequence[int]) -> tuple[int, str]:
    """Smallest rank that is as good as the best where restarts agree, and why; see ``rank_scan``."""
    heldout = scan["heldout_error"].transpose("rank", "fold").to_numpy()
    alike, static = scan["restart_similarity"].to_numpy(), scan["static_error"].to_numpy()
    stable = alike >= AGREE
    candidates = np.flatnonzero(stable) if stable.any() else np.arange(len(ranks))
    best = heldout[candidates[np.argmin(heldout[candidates].mean(axis=1))]]
    if not clearly_below(best, static, SURE):
        return 0, "no rank predicts held-out data better than the mean of every pair"
    chosen = min(ranks[int(k)] for k in candidates if not clearly_below(best, heldout[k]))
    agree = "whose restarts agree" if stable.any() else "though restarts of no rank agree"
    return chosen, f"the smallest as good as the best of those {agree}" if stable.any() else (
        f"the smallest as good as the best, {agree}"
    )


def clearly_below(low: np.ndarray, high: np.ndarray, errors: float = 1.0) -> bool:
    """Whether folds agree that ``low`` is lower: mean difference above that many standard errors."""
    difference = high - low
    error = difference.std(ddof=1) / np.sqrt(difference.size) if difference.size > 1 else 0.0
    return bool(difference.mean() > errors * error)


def against_surrogates(
    scan: xr.Dataset, model: Any, data: xr.Dataset, folds: Any, *, chosen: int, n_null: int
) -> tuple[xr.Dataset, int, str]:
    """How much the chosen rank gains over the static prediction, in the data and in shifted surrogates."""
    candidate = dataclasses.replace(model, rank=chosen)
    gains = []
    for k in range(n_null):
        surrogate = circular_shift(data, seed=model.seed + k)
        splits = list(folds(surrogate, getattr(model, "loss", "l2"), model.seed))
        gains.append(np.mean([fold.static - fold.error(fold.learn(candidate)) for fold in splits]))
    own = float((scan["static_error"] - scan["heldout_error"].sel(rank=chosen)).mean())
    exceeded = int(np.sum(np.asarray(gains) >= own))
    scan = scan.assign(null_gain=("surrogate", np.asarray(gains))).assign_attrs(
        gain=own, p_value=(1 + exceeded) / (1 + n_null)
    )
    if exceeded:
        return scan, 0, f"{exceeded} of {n_null} shifted surrogates are predicted as well at rank {chosen}"
    if own < np.mean(gains) + SURPRISING * np.std(gains):
        return scan, 0, f"shifted surrogates are predicted almost as well at rank {chosen}"
    return scan, chosen, f"predicted better than each of {n_null} shifted surrogates"
