"""Which edges of a motif are more than chance alignment makes of units that are as active.

A motif has a weight for every pair, also for pairs that only happen to move together while it is active. Such
weights are small but not alike: a pair that is strong in another motif gets less than its due. A block model
sees the difference, which no measurement error blurs for it. So an edge counts where its weight exceeds the
largest that any pair of the motif has in surrogates, in which units keep all but their alignment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, lookup
from neurotools.evaluate.heldout import laid_out, subject_of
from neurotools.evaluate.motif_null import SURROGATES, reach_s
from neurotools.evaluate.motifs import check_motifs, motif
from neurotools.numerics import affinity as kernels
from neurotools.numerics import ntf, tensor
from neurotools.numerics.nulls import tail
from neurotools.progress import working
from neurotools.schema.affinity import AffinityParts, affinity_parts

N_PASSES = 30  # over the components of a pair, whose time courses overlap little


def motif_edges(
    data: Any,
    fit: xr.Dataset,
    *,
    surrogate: str = "circular_shift",
    n_null: int = 19,
    level: float = 0.05,
    min_shift_s: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Keep the edges of every motif that are stronger than any that chance makes.

    Time courses and subject loadings of the fit are held fixed. The weights of all pairs are estimated by
    non-negative least squares, in the recording and in surrogates; a motif's edge is kept where its weight
    exceeds what the strongest pair of the motif has in all but a share ``level`` of them, which counts all
    pairs of a motif as one family (Westfall and Young 1993, section 2.5). The time courses are the fit's, so
    this tells the edges of a motif apart; whether the motif itself is real, ``nt.motif_null`` asks.

    Parameters
    ----------
    data : xarray.Dataset
        The factored affinity that was fitted, from ``nt.differential_affinity``.
    fit : xarray.Dataset
        Of ``nt.NTF`` with the layout ``"pair"``.
    surrogate : {"circular_shift", "phase_randomise", "common_phases"}
        As for ``nt.motif_null``.
    n_null : int
        Surrogates; at least 1 / ``level`` - 1 of them.
    level : float
        Chance of a false edge among all of a motif, above 0 and below 1.
    min_shift_s : float, optional
        Least circular shift in s; what smoothing joins, when omitted.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``motif`` (component, unit, unit_to), the fit's with the other edges zero, for ``nt.BlockModel``, or
        ``nt.motif_communities(model, fit.assign(motif=edges["motif"]))``;
        ``p_corrected``, of the same dims, 1 for pairs that no subject shows; ``n_edges`` (component), and
        ``chance_edges``, how many there were before. attrs ``surrogate``, ``n_null``, ``level``, ``seed``.

    Raises
    ------
    SchemaError
        The affinity has no drives, or the fit has no weight for every pair.
    SettingsError
        Too few surrogates for the level.

    See Also
    --------
    motif_null : Is a motif as a whole there in time that it was not learned from?
    """
    make = lookup("surrogate", surrogate, SURROGATES)
    parts = _ready(data, fit, n_null, level)
    shift = min_shift_s if min_shift_s is not None else reach_s(data)
    own = pair_weights(fit, parts)
    largest = np.empty((n_null, len(own)))
    with working("edges against chance") as show:
        for k in range(n_null):
            again = affinity_parts(make(data, seed + k, shift))
            largest[k] = pair_weights(fit, again).max(axis=1, initial=0.0)
            show((k + 1) / n_null)
    p = np.stack([
        tail(weights, np.broadcast_to(null[:, None], (n_null, weights.size)))
        for weights, null in zip(own, largest.T, strict=True)
    ])  # fmt: skip
    kept = p <= level * (1 + 1e-12)
    dims = ("component", parts.dim, f"{parts.dim}_to")
    matrices = motif(fit).transpose(*dims)
    kept_full = kernels.unpack(kept.astype(float), parts.observed.shape[1], parts.ordered) > 0
    told = f"above the strongest of {n_null} surrogates ({surrogate}), family-wise at {level:g}"
    full_p = 1.0 - kernels.unpack(1.0 - p, parts.observed.shape[1], parts.ordered)
    return xr.Dataset(
        {
            "motif": matrices.where(xr.DataArray(kept_full, dims=dims), 0.0).assign_attrs(edges=told),
            "p_corrected": (dims, full_p),
            "n_edges": ("component", kept.sum(axis=1)),
            "chance_edges": ("component", ((own > 0) & ~kept).sum(axis=1)),
        },
        attrs={"surrogate": surrogate, "n_null": int(n_null), "level": float(level), "seed": int(seed)},
    )


def _ready(data: Any, fit: xr.Dataset, n_null: int, level: float) -> AffinityParts:
    check_motifs(fit)
    if not 0 < level < 1:
        raise SettingsError("level is a chance, above 0 and below 1", found=level)
    if n_null < 1 / level - 1 - 1e-9:
        raise SettingsError(
            "there are too few surrogates for this level", found=f"{n_null}, level {level:g}",
            expected=f"at least {int(np.ceil(1 / level - 1 - 1e-9))}",
        )  # fmt: skip
    parts = affinity_parts(data)
    if parts.up is None:
        raise SchemaError(
            "surrogates need the factored form of an affinity",
            fix="pass the result of nt.differential_affinity",
        )
    if "motif" not in fit:
        raise SchemaError(
            "edges are tested one by one, and a motif of unit loadings has none of its own",
            fix='nt.NTF(rank, layout="pair")',
        )
    return parts


def pair_weights(fit: xr.Dataset, parts: AffinityParts) -> np.ndarray:
    """Weight (component, pair) of every pair by non-negative least squares; zero where none shows it."""
    layout, patterns = laid_out(fit, parts)
    times = fit["time_loading"].transpose("component", "time").to_numpy()[None]
    known = ntf.Factors(np.zeros((1, *patterns.shape)), subject_of(fit, parts), times)
    space = tensor.nonnegative_update(known.space, *layout.terms(known), N_PASSES)
    return np.asarray(space[0] * layout.ever)
