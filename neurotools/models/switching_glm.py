"""SwitchingGLM: what drives spikes or choices changes with a hidden state that all units share.

    z_t | z_{t-1} ~ transition,   mean_{t,n} = link(bias_{z_t,n} + x_t . w_{z_t,n}),   y_{t,n} ~ family(mean)

x_t holds the recent spikes of all units, stimuli, or an animal's earlier choices. Fitted by
expectation-maximisation to a maximum a posteriori estimate, from several random starts.
Escola et al. (2011), Neural Computation 23, 1071-1132, for populations; Ashwood et al. (2022), Nature
Neuroscience 25, 201-212, for choices; Li et al. (2024), ICLR, for a prior on couplings shared by all states.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from neurotools.arrays import to_device, to_numpy
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError, lookup
from neurotools.numerics import hmm, switching
from neurotools.numerics.switching_prior import Widths, change, learned
from neurotools.numerics.switching_scores import causal, cosmoothing, mean_log_likelihood, sample_normaliser
from neurotools.progress import working
from neurotools.provenance import stamp
from neurotools.schema import Schema
from neurotools.schema.regression import (
    Regression,
    anatomical,
    check_same_columns,
    flat_weights,
    named_weights,
    regression,
)

FIXED = 1e12  # precision of a centre that is not learned
BIAS_REACH = 10.0  # width of the prior of what biases of all states share
LOOSE = 100.0  # width of a bias that is not penalised
START_SPREAD = 0.3  # of the predictor, by which states differ at a random start
ROUNDS = 20  # of learning the width of the prior
ROUND_STEPS = 10  # of expectation-maximisation in each but the last
ROUNDS_TOL = 0.01  # relative change of every width below which it is learned

COUNTS = Schema("spike counts", dims=("time|trial", "unit"), units="count", whole=True)
BINARY = Schema("choices or spikes", dims=("time|trial", "unit|channel|region?"), whole=True)
ACTIVITY = Schema("activity", dims=("time|trial", "unit|channel|region?"))
OBSERVED = {"poisson": COUNTS, "negative_binomial": COUNTS, "bernoulli": BINARY, "gaussian": ACTIVITY}
FITTING_LINKS = {
    "poisson": ("softplus", "log", "sigmoid"),
    "negative_binomial": ("softplus", "log", "sigmoid"),
    "bernoulli": ("sigmoid",),
    "gaussian": ("identity", "softplus", "log", "sigmoid"),
}
SCORES = {"causal": causal, "cosmoothing": cosmoothing}
SPIKING = ("poisson", "negative_binomial", "bernoulli")  # scored per spike where there are units
DTYPES = ("float64", "float32")


# ---- priors ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class RidgePrior:
    """Every weight of every state is normal around zero (or the connectome) by itself.

    Parameters
    ----------
    strength : float
        Precision: the penalty is strength / 2 times the sum of squares. Biases go free.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise SettingsError("strength must be positive", found=self.strength)

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """Width for each kind of regressor."""
        return {kind: Widths(LOOSE if kind == "bias" else self.strength**-0.5, 0.0) for kind in kinds}


@dataclass(frozen=True)
class GaussianPrior:
    """Weights of the states are normal around a weight that all share, itself normal around zero.

    Parameters
    ----------
    width : float
        Standard deviation of a state's weight around the shared one.
    shared_width : float
        Standard deviation of the shared weight around zero, or around the anatomical connectome.
    bias_width : float
        Standard deviation of a state's bias around the shared one; never learned. A single state's bias is
        free.
    learn : bool
        Learn the other two widths, for each kind of regressor by itself, by the evidence in Laplace's
        approximation (MacKay 1992, Neural Computation 4, 415-447, eqs. 4.6 and 4.8), in rounds of a few
        iterations under fixed widths; the last round goes on until it converges. The values above are where
        it begins.
    """

    width: float = 1 / 3
    shared_width: float = 1.0
    bias_width: float = 1.0
    learn: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "shared_width", "bias_width"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be positive", found=getattr(self, name))

    def widths(self, kinds: list[str], n_states: int) -> dict[str, Widths]:
        """Width for each kind of regressor; with a single state the shared part is that state's."""
        pairs = {
            kind: (self.bias_width, BIAS_REACH) if kind == "bias" else (self.width, self.shared_width)
            for kind in kinds
        }
        if n_states == 1:
            alone = {kind: Widths(float(np.hypot(*pair)), 0.0) for kind, pair in pairs.items()}
            return {**alone, "bias": Widths(LOOSE, 0.0)}
        return {kind: Widths(*pair) for kind, pair in pairs.items()}


# ---- settings and verbs -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class SwitchingGLM:
    """Generalised linear model whose weights switch with one hidden state.

    Parameters
    ----------
    n_states : int
        Number of states; 1 is the model without switching.
    family : {"poisson", "negative_binomial", "bernoulli", "gaussian"}
        Of the observations. The dispersion r of a negative binomial has variance mean + mean^2 / r.
    link : {"auto", "softplus", "log", "sigmoid", "identity"}
        From the predictor to the mean; ``"auto"`` is softplus for counts, sigmoid for choices.
    prior : nt.GaussianPrior or nt.RidgePrior
        On weights, in the units of the regressors, which are not rescaled.
    n_restarts : int
        Random starts around the model of one state; the one with the highest objective is the fit. The first
        k starts are the same whatever their number.
    stickiness : float
        Pseudo-counts of staying that each state is given.
    max_iter, tol : int, float
        A start stops when an iteration raises the objective by less than ``tol`` relative, or after
        ``max_iter``; ``tol=0`` goes on while it rises at all.
    seed : int
        Start k is drawn from (seed, k).
    device : str
        Where the sums over units run: ``"cpu"``, ``"cupy"``, ``"torch"``, ``"torch:cuda"``, ``"auto"``.
    dtype : {"float64", "float32"}
        Precision of the computation.
    """

    n_states: int
    family: str = "poisson"
    link: str = "auto"
    prior: GaussianPrior | RidgePrior = GaussianPrior()
    n_restarts: int = 8
    stickiness: float = 1.0
    max_iter: int = 200
    tol: float = 1e-7
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        links = lookup("family", self.family, FITTING_LINKS)
        lookup(f"link of the family {self.family}", self.link, dict.fromkeys(("auto", *links)))
        lookup("dtype", self.dtype, dict.fromkeys(DTYPES))
        for name in ("n_states", "n_restarts", "max_iter"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1", found=getattr(self, name))
        for name in ("stickiness", "tol"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name} must be at least 0", found=getattr(self, name))

    def fit(
        self, counts: xr.DataArray, design: xr.DataArray, connectome: xr.DataArray | None = None
    ) -> xr.Dataset:
        """Find the states, their weights, and when each holds.

        Parameters
        ----------
        counts : xarray.DataArray
            Spike counts (time, unit); or choices (trial), 0 and 1. ``session`` on time or trial says where
            the chain of states begins anew.
        design : xarray.DataArray
            From ``nt.glm_design`` or ``nt.choice_design``, made of the same array.
        connectome : xarray.DataArray, optional
            Anatomical weights (unit, unit_to), the mean of the prior on couplings, in the units of the
            predictor per spike; where there are several functions of the lag each gets its equal part.

        Returns
        -------
        xarray.Dataset
            ``weight`` (state, unit, unit_to, basis) of histories, where ``unit`` sends; ``feature_weight``
            (state, feature, unit_to) of all other regressors; ``bias`` (state, unit_to); ``transition``
            (state, state_to), ``initial_prob`` (state), ``state_prob`` (time, state) given whole sessions,
            ``occupancy`` (state), the mean of these; ``objective`` (iteration), the log posterior of the best
            start, with ``round`` on ``iteration``: it never falls within a round, and the prior is learned
            between rounds; ``restart_objective`` (restart) before that. ``shared_weight``,
            ``shared_feature_weight`` and ``shared_bias`` are what the states have in common under a
            ``GaussianPrior``, ``prior_width`` (kind, level) how far they stray. States are numbered by
            occupancy, largest first.
            For choices there is no ``unit_to``.

        Raises
        ------
        SchemaError
            Counts are not whole or negative, the design belongs to other counts, or there are fewer samples
            than the states could be told apart by.

        Warns
        -----
        NeurotoolsWarning
            A unit never fires, regressors are linearly dependent, a state holds fewer samples than it has
            weights, or the best start did not converge.
        """
        data = asked(counts, design, self)
        warn_about(data, self)
        layout = Layout.of(data, self, connectome)
        fit = as_dataset(best_of(data, layout, self), data, layout, self)
        warn_after(fit, data)
        return stamp(fit, "switching_glm", self)

    def predict(self, fit: xr.Dataset, counts: xr.DataArray, design: xr.DataArray) -> xr.Dataset:
        """States in new data, and how well each sample was foretold.

        Returns
        -------
        xarray.Dataset
            ``state_prob`` (time, state) given whole sessions; ``filtered_prob`` given past and present;
            ``viterbi`` (time), the most probable path; ``log_likelihood`` (time), in nats, of each sample of
            all units given the past of its session.
        """
        data = asked(counts, design, self)
        params, problem = rebuilt(fit, data, self)
        log_prob = switching.log_likelihood(params, problem)
        found = switching.posterior(params, problem, log_prob)
        chain = (to_numpy(params.log_initial), to_numpy(params.log_transition), to_numpy(log_prob))
        path, _ = hmm.viterbi(*chain, problem.start)
        own = sample_normaliser(params, problem)
        return xr.Dataset(
            {
                "state_prob": ((data.dim, "state"), to_numpy(found.state_prob)),
                "filtered_prob": ((data.dim, "state"), to_numpy(found.filtered_prob)),
                "viterbi": (data.dim, path),
                "log_likelihood": (data.dim, to_numpy(found.log_predictive) + own, {"units": "nat"}),
            },
            coords={**data.coords, "state": fit["state"]},
        )

    def score(
        self, fit: xr.Dataset, counts: xr.DataArray, design: xr.DataArray, kind: str = "causal"
    ) -> float:
        """How much better data are foretold than by each unit's mean, in bits per spike (per trial, choices).

        ``"causal"``: each sample given the past of its session (one-step prediction). ``"cosmoothing"``: each
        unit given states estimated from all other units, past and future; histories in the design, the unit's
        own among them, are given. The mean is that of the data scored, for counts under a Poisson law
        whatever the family, so that families compare. Activity: bits per sample and unit.
        """
        data = asked(counts, design, self)
        params, problem = rebuilt(fit, data, self)
        if kind == "cosmoothing" and data.y.shape[1] < 2:
            raise SettingsError("co-smoothing needs other units to tell the state", code="NT-SET-003")
        total = lookup("score", kind, SCORES)(params, problem)
        amount = data.y.sum() if self.family in SPIKING and data.units is not None else data.y.size
        if not amount > 0:
            raise SchemaError("there are no spikes to score", code="NT-DATA-010", found="counts are all zero")
        return float((total - mean_log_likelihood(data.y, self.family)) / (amount * np.log(2)))


# ---- the data, laid out -----------------------------------------------------------------------------------
def asked(counts: Any, design: Any, settings: SwitchingGLM) -> Regression:
    """Observations and design as plain arrays, checked."""
    data = regression(counts, design, OBSERVED[settings.family])
    if settings.family == "bernoulli" and data.y.max() > 1:
        raise SchemaError(
            "choices (or spikes in a bin) are 0 or 1 here", code="NT-DATA-008",
            found=f"up to {data.y.max():g}",
            fix='family="poisson" takes counts',
        )  # fmt: skip
    return data


def warn_about(data: Regression, settings: SwitchingGLM) -> None:
    """Say what in the data limits a fit; refuse states that cannot be told apart."""
    if data.y.shape[0] < 2 * settings.n_states:
        raise SchemaError(
            "there are fewer than two samples for each state", code="NT-DATA-010",
            found=f"{data.y.shape[0]} samples, {settings.n_states} states", fix="take a smaller n_states",
        )  # fmt: skip
    silent = np.flatnonzero(~data.y.any(axis=0)) if settings.family != "gaussian" else np.array([], int)
    if silent.size and data.units is not None:
        names = ", ".join(map(str, data.units[silent][:5])) + (" ..." if silent.size > 5 else "")
        warnings.warn(
            f"{silent.size} units never fire ({names}): their weights are those of the prior",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip
    scaled = data.x / np.maximum(np.sqrt((data.x**2).sum(axis=0)), 1e-300)
    values = np.linalg.eigvalsh(scaled.T @ scaled)
    dependent = int((values < 1e-10).sum())
    if dependent:
        warnings.warn(
            f"the design has {dependent} columns that others (or the bias) make up: only the prior divides "
            "their weight among them",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Kinds of the columns, the bias first, and the mean of the prior."""

    kinds: np.ndarray  # (column)
    prior_mean: np.ndarray  # (column, unit)

    @classmethod
    def of(cls, data: Regression, settings: SwitchingGLM, connectome: xr.DataArray | None) -> Layout:
        """Couplings lie around the connectome, all else around zero."""
        kinds = np.array(["bias", *data.kind.astype(str)])
        mean = np.zeros((kinds.size, data.y.shape[1]))
        if connectome is not None:
            mean[1:][data.history] = anatomical(connectome, data)
        return cls(kinds, mean)

    def problem(
        self, data: Regression, settings: SwitchingGLM, widths: dict[str, Widths]
    ) -> switching.Problem:
        """Everything given, on the device."""

        def there(values: Any) -> Any:
            return to_device(np.asarray(values), settings.device, settings.dtype)

        shared = [widths[kind].shared for kind in self.kinds]
        return switching.Problem(
            x=there(data.x), y=there(data.y), start=data.start,
            family=settings.family, link=link_of(settings),
            precision=there([widths[kind].around ** -2 for kind in self.kinds]),
            centre_mean=there(self.prior_mean),
            centre_precision=there([width**-2 if width else FIXED for width in shared]),
            stickiness=settings.stickiness if settings.n_states > 1 else 0.0,
        )  # fmt: skip


def link_of(settings: SwitchingGLM) -> str:
    """The link that ``"auto"`` stands for, or the one named."""
    return FITTING_LINKS[settings.family][0] if settings.link == "auto" else settings.link


# ---- fitting ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Found:
    """The best start: what it learned, and under which prior."""

    params: switching.Params
    posterior: hmm.Smoothed
    trace: list[float]
    rounds: list[int]
    converged: bool
    widths: dict[str, Widths]
    restarts: list[float]


def best_of(data: Regression, layout: Layout, settings: SwitchingGLM) -> Found:
    """All restarts under the prior as given, and the best one under the prior as learned."""
    kinds = list(dict.fromkeys(layout.kinds.tolist()))
    widths = settings.prior.widths(kinds, settings.n_states)
    problem = layout.problem(data, settings, widths)
    base = switching.one_state(problem)
    spread = start_spread(data, [widths[kind].around for kind in layout.kinds])
    n = settings.n_restarts if settings.n_states > 1 else 1
    runs = []
    with working(f"switching GLM, {settings.n_states} states") as show:
        for k in range(n):

            def watch(i: int, _: float, k: int = k) -> None:
                show((k + i / settings.max_iter) / n)

            begin = switching.random_start(base, settings.n_states, spread, (settings.seed, k))
            runs.append(
                switching.expectation_maximisation(begin, problem, settings.max_iter, settings.tol, watch)
            )
    restarts = [run[2][-1] for run in runs]
    params, posterior, trace, converged = runs[int(np.argmax(restarts))]
    found = Found(params, posterior, trace, [0] * len(trace), converged, widths, restarts)
    if isinstance(settings.prior, GaussianPrior) and settings.prior.learn:
        found = with_learned_prior(found, data, layout, settings)
    return found


def start_spread(data: Regression, widths: list[float]) -> np.ndarray:
    """How far apart states begin, (column, 1): alike in the predictor, and never beyond the prior."""
    deviation = data.x.std(axis=0)
    size = np.divide(START_SPREAD / 2, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    size[0] = START_SPREAD
    return np.minimum(size, widths)[:, None]


def with_learned_prior(found: Found, data: Regression, layout: Layout, settings: SwitchingGLM) -> Found:
    """Widths by the evidence, and a few steps under them, in turn; at last the fit under those learned."""
    for _ in range(ROUNDS):
        problem = layout.problem(data, settings, found.widths)
        widths = learned(found.params, found.posterior.state_prob, problem, layout.kinds, found.widths)
        if change(found.widths, widths) < ROUNDS_TOL:
            break
        found = onward(replace(found, widths=widths), data, layout, settings, ROUND_STEPS)
    return onward(found, data, layout, settings, settings.max_iter)


def onward(found: Found, data: Regression, layout: Layout, settings: SwitchingGLM, max_iter: int) -> Found:
    """Expectation-maximisation from where it stands, under its present widths: one more round."""
    problem = layout.problem(data, settings, found.widths)
    params, posterior, trace, converged = switching.expectation_maximisation(
        found.params, problem, min(max_iter, settings.max_iter), settings.tol
    )
    return replace(
        found, params=params, posterior=posterior, trace=found.trace + trace, converged=converged,
        rounds=found.rounds + [found.rounds[-1] + 1] * len(trace),
    )  # fmt: skip


def warn_after(fit: xr.Dataset, data: Regression) -> None:
    """Say which states hold too little, and whether the best start came to rest."""
    held = fit["occupancy"].to_numpy() * data.y.shape[0]
    few = np.flatnonzero(held < data.x.shape[1])
    if few.size:
        warnings.warn(
            f"{few.size} of {held.size} states hold fewer samples than each unit has weights (state "
            f"{few[0]}: {held[few[0]]:.1f} of {data.y.shape[0]}): the prior stands for the data there; take "
            "fewer states",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip
    if not fit.attrs["converged"]:
        warnings.warn(
            "the best start had not converged; take a larger max_iter", NeurotoolsWarning, stacklevel=3
        )


# ---- back to names ----------------------------------------------------------------------------------------
def as_dataset(found: Found, data: Regression, layout: Layout, settings: SwitchingGLM) -> xr.Dataset:
    """Name what was found; states are numbered by occupancy, largest first."""
    state_prob = to_numpy(found.posterior.state_prob)
    order = np.argsort(-state_prob.mean(axis=0), kind="stable")
    states, to = np.arange(order.size), () if data.units is None else ("unit_to",)
    variables: dict[str, Any] = {}
    for name, (dims, values) in named_weights(to_numpy(found.params.weights)[order], data).items():
        variables[name] = (("state", *dims), values)
    if isinstance(settings.prior, GaussianPrior) and settings.n_states > 1:
        for name, (dims, values) in named_weights(to_numpy(found.params.centre), data).items():
            variables[f"shared_{name}"] = (dims, values)
    if settings.family in switching.DISPERSED:
        dispersion = to_numpy(found.params.dispersion)
        variables["dispersion"] = (to, dispersion if to else dispersion[0])
    variables |= {
        "transition": (("state", "state_to"), np.exp(to_numpy(found.params.log_transition))[order][:, order]),
        "initial_prob": ("state", np.exp(to_numpy(found.params.log_initial))[order]),
        "state_prob": ((data.dim, "state"), state_prob[:, order], {"units": "1"}),
        "occupancy": ("state", state_prob.mean(axis=0)[order]),
        "objective": ("iteration", np.array(found.trace), {"units": "nat"}),
        "restart_objective": ("restart", np.array(found.restarts), {"units": "nat"}),
        "prior_width": (("kind", "level"), [[w.around, w.shared] for w in found.widths.values()]),
    }
    coords: dict[str, Any] = {
        **data.coords, "state": states, "state_to": states, "round": ("iteration", found.rounds),
        "iteration": np.arange(1, len(found.trace) + 1), "restart": np.arange(len(found.restarts)),
        "kind": list(found.widths), "level": ["state", "shared"],
    }  # fmt: skip
    coords |= {} if data.units is None else {"unit_to": data.units}
    coords |= {"unit": data.units, "basis": np.arange(data.n_basis)} if data.history.any() else {}
    coords |= {"feature": data.feature[~data.history]} if not data.history.all() else {}
    attrs = {
        "converged": int(found.converged),
        "n_iter": len(found.trace),
        "log_likelihood": float(found.posterior.log_evidence) + normaliser_of(found, data, layout, settings),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def normaliser_of(found: Found, data: Regression, layout: Layout, settings: SwitchingGLM) -> float:
    """Terms of the log likelihood of the data that no state changes."""
    return switching.log_normaliser(found.params, layout.problem(data, settings, found.widths))


def rebuilt(
    fit: xr.Dataset, data: Regression, settings: SwitchingGLM
) -> tuple[switching.Params, switching.Problem]:
    """Parameters of a fit beside new data, on the device."""
    check_same_columns(fit, data)

    def there(values: np.ndarray) -> Any:
        return to_device(np.ascontiguousarray(values), settings.device, settings.dtype)

    weights = flat_weights(fit, data, ("bias", "weight", "feature_weight"))
    dispersion = fit["dispersion"].to_numpy() if "dispersion" in fit else np.ones(data.y.shape[1])
    with np.errstate(divide="ignore"):  # a transition of probability zero is known, not wrong
        initial, transition = np.log(fit["initial_prob"].to_numpy()), np.log(fit["transition"].to_numpy())
    params = switching.Params(
        there(weights), there(weights.mean(axis=0)), there(initial), there(transition),
        there(np.atleast_1d(dispersion)),
    )  # fmt: skip
    kinds = np.array(["bias", *data.kind.astype(str)])
    layout = Layout(kinds, np.zeros(weights.shape[1:]))
    widths = dict.fromkeys(kinds.tolist(), Widths(1.0, 1.0))
    return params, layout.problem(data, settings, widths)
