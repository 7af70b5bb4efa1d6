"""Hidden Markov chains inside PyMC: an exact likelihood with an exact gradient, and NUTS that is checked.

The states are summed out by our forward-backward, which gives the gradient as well (Fisher's identity): with
L the log evidence, dL / d log p(y_t | z_t = k) is the posterior of state k at t, dL / d log A_ij the expected
number of moves from i to j, dL / d log pi_k the expected number of sessions that begin in k. Every number is
scaled step by step, so both stay finite however long the recording.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import xarray as xr

from neurotools.adapters.arviz import from_arviz, scalars
from neurotools.errors import NotConvergedError, SchemaError, SettingsError, need
from neurotools.numerics import convergence, hmm
from neurotools.provenance import versions

SAMPLERS = ("pymc", "nutpie", "numpyro", "blackjax")
CENTRE_WIDTH = 3.0  # prior of the weights that all animals share, in log odds per unit of a regressor
SUBJECT_WIDTH = 0.5  # of the prior on how far animals stray from them
STAYING = 10.0  # pseudo-counts of staying, beside one for every move


# ---- the likelihood -------------------------------------------------------------------------------------
def hmm_log_likelihood(
    log_likelihood: Any, log_transition: Any, log_initial: Any = None, start: np.ndarray | None = None
) -> Any:
    """Log evidence of a hidden Markov chain as a scalar of PyTensor, its states summed out.

    Use it in a model as ``pm.Potential("choices", hmm_log_likelihood(...))``.

    Parameters
    ----------
    log_likelihood : tensor (time, state)
        Log probability of the data of each sample under each state; 0 in every state where it is missing.
    log_transition : tensor (state, state_to)
        Logarithms of transition probabilities.
    log_initial : tensor (state), optional
        Log probabilities of the state in which a session begins; uniform when omitted.
    start : numpy.ndarray of bool (time), optional
        Where sessions begin, in which the chain begins anew; the first sample always does.

    Returns
    -------
    pytensor.tensor.TensorVariable
        A scalar, whose gradient with respect to all three is exact. It has no second derivative.

    References
    ----------
    Rabiner (1989), Proceedings of the IEEE 77(2), eqs. 19-27 and 37; Fisher's identity: Cappé, Moulines and
    Rydén (2005), Inference in Hidden Markov Models, section 10.1.4.
    """
    pt = need("pytensor.tensor", extra="bayes", to="build a model in PyMC")
    log_transition = pt.as_tensor_variable(log_transition)
    if log_initial is None:
        n_states = log_transition.shape[0]
        log_initial = pt.alloc(-pt.log(n_states.astype("float64")), n_states)
    edges = () if start is None else tuple(np.flatnonzero(np.asarray(start, dtype=bool)).tolist())
    return _operation()(edges)(log_initial, log_transition, log_likelihood)[0]


@functools.cache
def _operation() -> Any:
    """The operation, made when PyTensor is first needed."""
    need("pytensor", extra="bayes", to="build a model in PyMC")
    import pytensor.tensor as pt
    from pytensor.gradient import DisconnectedType
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    class HMMLogLikelihood(Op):  # type: ignore[misc]
        """Log evidence of a chain, and the three posteriors that are its gradient, from one pass."""

        __props__ = ("edges",)

        def __init__(self, edges: tuple[int, ...]) -> None:
            self.edges = edges

        def make_node(self, *inputs: Any) -> Any:
            tensors = [pt.as_tensor_variable(entry).astype("float64") for entry in inputs]
            if [tensor.ndim for tensor in tensors] != [1, 2, 2]:
                raise SchemaError(
                    "a chain needs log_initial (state), log_transition (state, state_to) and log_likelihood "
                    "(time, state)",
                    found=f"{[tensor.ndim for tensor in tensors]} dimensions", expected="[1, 2, 2]",
                )  # fmt: skip
            return Apply(self, tensors, [pt.dscalar(), pt.dvector(), pt.dmatrix(), pt.dmatrix()])

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            log_initial, log_transition, log_likelihood = map(np.ascontiguousarray, inputs)
            start = np.zeros(len(log_likelihood), dtype=bool)
            start[[0, *self.edges]] = True
            found = hmm.smooth(log_initial, log_transition, log_likelihood, start)
            values = (
                np.asarray(found.log_evidence), found.state_prob[start].sum(axis=0), found.pair_sum,
                found.state_prob,
            )  # fmt: skip
            for storage, value in zip(outputs, values, strict=True):
                storage[0] = np.asarray(value, dtype="float64")

        def infer_shape(self, fgraph: Any, node: Any, shapes: Any) -> Any:
            return [(), *shapes]

        def L_op(self, inputs: Any, outputs: Any, output_grads: Any) -> Any:  # noqa: N802  (PyTensor's name)
            if any(not isinstance(grad.type, DisconnectedType) for grad in output_grads[1:]):
                raise NotImplementedError("the chain's likelihood has no second derivative")
            return [output_grads[0] * posterior for posterior in outputs[1:]]

        # What later versions of PyTensor call it.
        pullback = L_op

    return HMMLogLikelihood


# ---- a hierarchy over animals -----------------------------------------------------------------------------
def hierarchical_choices(
    choice: xr.DataArray, design: xr.DataArray, n_states: int = 2, ordered_by: str | None = None
) -> Any:
    """Switching strategies of several animals as a model of PyMC: each has weights near those of all.

        w_{subject, state} = centre_{state} + spread * N(0, 1),   choice ~ Bernoulli(sigmoid(x . w))

    Parameters
    ----------
    choice : xarray.DataArray
        0 and 1 (trial), with ``subject`` on ``trial`` and ``session`` where there are several.
    design : xarray.DataArray
        From ``nt.choice_design``, of the same trials. A column of ones is added as ``bias``.
    n_states : int
    ordered_by : str, optional
        Regressor by whose common weight the states are numbered, largest first, without which chains of
        draws would name states differently; the first when omitted.

    Returns
    -------
    pymc.Model
        Variables ``weight`` (subject, state, regressor), ``centre`` (state, regressor), ``spread``
        (regressor), ``transition`` (state, state_to).

    Raises
    ------
    SchemaError
        There is no ``subject`` on the trials.
    """
    pm = need("pymc", extra="bayes", to="sample a hierarchical model")
    import pytensor.tensor as pt

    if "subject" not in choice.coords:
        raise SchemaError("a hierarchy over animals needs to know whose a trial is", code="NT-DATA-006",
                          expected="the coordinate 'subject' on 'trial'")  # fmt: skip
    names, whose = np.unique(choice["subject"].to_numpy(), return_inverse=True)
    regressors = ["bias", *(str(name) for name in design["feature"].to_numpy())]
    key = _ordering(regressors, ordered_by)
    x = np.column_stack([np.ones(choice.size), design.transpose("trial", "feature").to_numpy()])
    sign = 2.0 * choice.to_numpy() - 1.0
    rest = [k for k in range(len(regressors)) if k != key]
    coords = {
        "subject": names,
        "state": range(n_states),
        "state_to": range(n_states),
        "regressor": regressors,
    }
    with pm.Model(coords=coords) as model:
        falling = pm.Normal(
            "falling", 0.0, CENTRE_WIDTH, shape=n_states, transform=pm.distributions.transforms.ordered,
            initval=np.linspace(0.5, 2.5, n_states),
        )  # fmt: skip
        others = pm.Normal("others", 0.0, CENTRE_WIDTH, shape=(n_states, len(rest)))
        columns = [falling[::-1] if k == key else others[:, rest.index(k)] for k in range(len(regressors))]
        centre = pm.Deterministic("centre", pt.stack(columns, axis=1), dims=("state", "regressor"))
        spread = pm.HalfNormal("spread", SUBJECT_WIDTH, dims="regressor")
        away = pm.Normal("away", 0.0, 1.0, dims=("subject", "state", "regressor"))
        weight = pm.Deterministic("weight", centre + spread * away, dims=("subject", "state", "regressor"))
        counts = np.ones((n_states, n_states)) + STAYING * np.eye(n_states)
        transition = pm.Dirichlet("transition", counts, dims=("state", "state_to"))
        drive = (x[:, None, :] * weight[whose]).sum(axis=-1)  # (trial, state)
        log_prob = -pt.softplus(-sign[:, None] * drive)
        start = _starts(choice, whose)
        pm.Potential("choices", hmm_log_likelihood(log_prob, pt.log(transition), start=start))
    return model


def _ordering(regressors: list[str], ordered_by: str | None) -> int:
    if ordered_by is None:
        return min(1, len(regressors) - 1)
    if ordered_by not in regressors:
        raise SettingsError(
            f"there is no regressor {ordered_by!r}",
            code="NT-SET-001",
            expected="one of " + ", ".join(regressors),
        )
    return regressors.index(ordered_by)


def _starts(choice: xr.DataArray, whose: np.ndarray) -> np.ndarray:
    labels = [whose, *([choice["session"].to_numpy()] if "session" in choice.coords else [])]
    return np.r_[True, np.any([label[1:] != label[:-1] for label in labels], axis=0)]


# ---- draws that are checked -----------------------------------------------------------------------------
def sample_checked(
    model: Any,
    *,
    sampler: str,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int = 0,
    target_accept: float = 0.9,
    cores: int = 1,
    max_rhat: float = 1.01,
    min_ess: float = 400.0,
    max_divergences: int = 0,
) -> xr.DataTree:
    """Draw from a PyMC model by NUTS, and refuse draws that do not pass their checks.

    Parameters
    ----------
    model : pymc.Model
    sampler : {"pymc", "nutpie", "numpyro", "blackjax"}
        Which NUTS. It has to be named, because PyMC's own default depends on what else is installed; it is
        written into the result.
    draws, tune, chains, seed, target_accept, cores
        As for ``pymc.sample``.
    max_rhat, min_ess, max_divergences
        The largest R-hat, the smallest effective size (of bulk and tails) of any number, and the number of
        divergent transitions with which draws are handed over. The defaults are those of Vehtari et al.
        (2021); with ``inf``, 0 and a large number nothing is refused.

    Returns
    -------
    xarray.DataTree
        ArviZ's groups, ``posterior`` and ``sample_stats`` among them; attrs ``sampler``, ``seed``,
        ``worst_rhat``, ``least_ess``, ``n_divergent`` and versions.

    Raises
    ------
    NotConvergedError
        A check failed; its message says which, of what number, and by how much.
    """
    pm = need("pymc", extra="bayes", to="sample a model")
    if sampler not in SAMPLERS:
        raise SettingsError(
            f"there is no sampler {sampler!r}", code="NT-SET-001", expected=", ".join(SAMPLERS)
        )
    drawn = pm.sample(
        model=model, draws=draws, tune=tune, chains=chains, cores=cores, random_seed=seed,
        target_accept=target_accept, nuts_sampler=sampler, progressbar=False,
        compute_convergence_checks=False,
    )  # fmt: skip
    post = from_arviz(drawn)
    found = diagnostics(post)
    post.attrs = {
        **found, "sampler": f"{sampler} NUTS", "seed": seed,
        **{f"{name}_version": number for name, number in versions("pymc", "pytensor").items()},
    }  # fmt: skip
    faults = []
    if not found["worst_rhat"] <= max_rhat:
        faults.append(f"R-hat {found['worst_rhat']:.3f} of {found['worst']} is above {max_rhat:g}")
    if not found["least_ess"] >= min_ess:
        faults.append(f"{found['least_ess']:.0f} effective draws of {found['least']} are below {min_ess:g}")
    if not found["n_divergent"] <= max_divergences:
        faults.append(f"{found['n_divergent']:g} divergent transitions, of at most {max_divergences}")
    if faults:
        raise NotConvergedError(
            "the draws did not pass their checks, so they are not handed over", found="; ".join(faults),
            fix="larger draws and tune, a larger target_accept, or a model with fewer states",
        )  # fmt: skip
    return post


def diagnostics(post: xr.DataTree) -> dict[str, Any]:
    """Worst R-hat and smallest effective size over all numbers of a posterior, and divergent transitions."""
    table = [
        (name, convergence.rhat(x), np.minimum(convergence.ess_bulk(x), convergence.ess_tail(x)))
        for name, _, x in scalars(post)
    ]
    # What is no number, or was not told, is the worst that there is.
    worst = max(table, key=lambda row: row[1] if np.isfinite(row[1]) else np.inf)
    least = min(table, key=lambda row: row[2] if np.isfinite(row[2]) else -np.inf)
    stats = post.children.get("sample_stats")
    diverging = np.nan if stats is None or "diverging" not in stats else int(stats["diverging"].sum())
    return {
        "worst_rhat": float(worst[1]), "worst": worst[0], "least_ess": float(least[2]), "least": least[0],
        "n_divergent": diverging,
    }  # fmt: skip
