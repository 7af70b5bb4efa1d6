"""Whether the chains of a posterior agree, judged on what does not depend on how clusters are numbered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from neurotools.errors import NotConvergedError, SchemaError
from neurotools.numerics import convergence as chains
from neurotools.schema.posterior import posterior_group

# Functions of the parameters that are the same under every renaming of clusters and states. Not the log joint
# density: it is a density over as many latents as there are clusters, so its values are of different kinds.
QUANTITIES = {
    "posterior": (
        "n_clusters", "n_states", "log_rate_mean", "log_rate_sd", "interval_rate", "dispersion",
    ),
    "sample_stats": ("log_likelihood",),
}  # fmt: skip
LEAST_DRAWS = 8  # of a chain, below which its halves say nothing
MAX_RHAT = 1.05
MIN_ESS = 100.0


def convergence(post: xr.DataTree, *, max_rhat: float = MAX_RHAT, min_ess: float = MIN_ESS) -> xr.Dataset:
    """R-hat and effective sample sizes of all quantities that do not depend on labels.

    Parameters
    ----------
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``, with two chains or more if chains are to be compared; of one chain
        its halves are.
    max_rhat : float
        The largest R-hat with which the chains count as converged.
    min_ess : float
        The least effective size, of bulk and tails.

    Returns
    -------
    xarray.Dataset
        ``rhat``, ``ess_bulk``, ``ess_tail``, ``mean`` and its Monte Carlo ``standard_error``, over
        ``quantity``: numbers of clusters and states, ``log_likelihood``, and for every unit the mean
        and spread of its log rate, its mean count in stretches of the recording, its dispersion. Coordinate
        ``variable`` says which of these, names like ``log_rate_mean[u3]`` which unit. A quantity that never
        changes has R-hat 1. attrs ``converged`` (0 or 1), ``worst_rhat``, ``least_ess``, ``worst`` and
        ``least`` (which quantities), ``n_chains``, ``max_rhat``, ``min_ess``.

    Raises
    ------
    SchemaError
        There are fewer than eight draws in a chain.

    References
    ----------
    Vehtari et al. (2021), Bayesian Analysis 16, 667-718.
    """
    rows = [(name, variable, *_numbers(x)) for name, variable, x in _quantities(post)]
    names, variables, *numbers = zip(*rows, strict=True)
    labels = ("rhat", "ess_bulk", "ess_tail", "mean", "standard_error")
    found = xr.Dataset(
        {label: ("quantity", np.array(column)) for label, column in zip(labels, numbers, strict=True)},
        coords={"quantity": list(names), "variable": ("quantity", list(variables))},
    )
    rhat = found["rhat"].to_numpy()
    ess = np.minimum(found["ess_bulk"].to_numpy(), found["ess_tail"].to_numpy())
    worst, least = int(rhat.argmax()), int(ess.argmin())
    passed = bool((rhat <= max_rhat).all() and (ess >= min_ess).all())
    return found.assign_attrs(
        converged=int(passed), worst_rhat=float(rhat[worst]), least_ess=float(ess[least]),
        worst=str(names[worst]), least=str(names[least]),
        n_chains=post["posterior"].sizes["chain"], max_rhat=max_rhat, min_ess=min_ess,
    )  # fmt: skip


def require_converged(
    post: xr.DataTree, *, max_rhat: float = MAX_RHAT, min_ess: float = MIN_ESS
) -> xr.Dataset:
    """Return ``nt.convergence`` of a posterior, or refuse one whose chains do not agree.

    Raises
    ------
    NotConvergedError
        Some R-hat is above ``max_rhat``, or some effective size below ``min_ess``.
    """
    found = convergence(post, max_rhat=max_rhat, min_ess=min_ess)
    if not found.attrs["converged"]:
        raise NotConvergedError(
            "the chains have not converged",
            where=f"largest R-hat: {found.attrs['worst']}; least effective size: {found.attrs['least']}",
            found=f"R-hat {found.attrs['worst_rhat']:.3f}, {found.attrs['least_ess']:.0f} effective draws",
            expected=f"R-hat at most {max_rhat:g}, at least {min_ess:g} effective draws",
            fix="take more draws and tune; nt.plot.plot_convergence(nt.convergence(post)) shows where",
        )
    return found


def _numbers(x: np.ndarray) -> tuple[float, ...]:
    return (
        chains.rhat(x), chains.ess_bulk(x), chains.ess_tail(x), float(x.mean()), chains.standard_error(x),
    )  # fmt: skip


def _quantities(post: xr.DataTree) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, variable and values (chain, draw) of every quantity."""
    for group, names in QUANTITIES.items():
        dataset = posterior_group(post, group, what="a check of convergence")
        if dataset.sizes["draw"] < LEAST_DRAWS:
            raise SchemaError(
                "there are too few draws to tell whether chains agree", code="NT-DATA-010",
                found=f"{dataset.sizes['draw']} draws in each chain", expected=f"at least {LEAST_DRAWS}",
            )  # fmt: skip
        for variable in filter(dataset.__contains__, names):
            array = dataset[variable]
            rest = [dim for dim in array.dims if dim not in ("chain", "draw")]
            array = array.transpose(*rest, "chain", "draw")
            labels = [
                array[dim].to_numpy() if dim in array.coords else range(array.sizes[dim]) for dim in rest
            ]
            values = array.to_numpy().astype("float64")
            for place in np.ndindex(*values.shape[:-2]):
                at = ", ".join(str(label[i]) for label, i in zip(labels, place, strict=True))
                yield (f"{variable}[{at}]" if at else variable), variable, values[place]
