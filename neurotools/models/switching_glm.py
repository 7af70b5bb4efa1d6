"""SwitchingGLM: what drives spikes or choices changes with a hidden state that all units share.

    z_t | z_{t-1} ~ transition,   mean_{t,n} = link(bias_{z_t,n} + x_t . w_{z_t,n}),   y_{t,n} ~ family(mean)

x_t holds the recent spikes of all units, stimuli, or an animal's earlier choices. Fitted by
expectation-maximisation to a maximum a posteriori estimate, from several random starts.
Escola et al. (2011), Neural Computation 23, 1071-1132, for populations; Ashwood et al. (2022), Nature
Neuroscience 25, 201-212, for choices; Li et al. (2024), ICLR, for a prior on couplings shared by all states.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from neurotools.arrays import to_device, to_numpy
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError, check_numbers, lookup
from neurotools.numerics import hmm, switching
from neurotools.numerics.switching_chain import drive_start, host_chain
from neurotools.numerics.switching_errors import UNCERTAINTY, Errors
from neurotools.numerics.switching_fit import Found, Given, Search, best_of
from neurotools.numerics.switching_lasso import GroupLasso
from neurotools.numerics.switching_prior import GaussianPrior, RidgePrior
from neurotools.numerics.switching_scores import (
    ahead_prob,
    causal,
    cosmoothing,
    mean_log_likelihood,
    sample_normaliser,
    silent_prob,
)
from neurotools.numerics.switching_types import OneHotPrior, sharpest
from neurotools.provenance import stamp
from neurotools.schema.observations import SPIKING, observations, scored_amount, tell_limits
from neurotools.schema.regression import (
    Regression,
    anatomical,
    anatomical_types,
    check_same_columns,
    coupling_places,
    flat_weights,
)
from neurotools.schema.states import (
    FitArrays,
    Inputs,
    known_inputs,
    named_fit,
    tell_shortcomings,
    transition_inputs,
)

FITTING_LINKS = {
    "poisson": ("softplus", "log", "sigmoid", "sigmoid_gain"),
    "negative_binomial": ("softplus", "log", "sigmoid", "sigmoid_gain"),
    "bernoulli": ("sigmoid",),
    "binomial": ("sigmoid",),
    "categorical": ("softmax",),
    "gaussian": ("identity", "softplus", "log", "sigmoid"),
}
SCORES = {"causal": causal, "cosmoothing": cosmoothing}
DTYPES = ("float64", "float32")


# ---- settings and verbs -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class SwitchingGLM:
    """Generalised linear model whose weights switch with one hidden state.

    Parameters
    ----------
    n_states : int
        Number of states; 1 is the model without switching.
    family : {"poisson", "negative_binomial", "bernoulli", "binomial", "categorical", "gaussian"}
        Of the observations. The dispersion r of a negative binomial has variance mean + mean^2 / r. A
        binomial one takes the number of tries from the coordinate ``n_trials`` of the counts. A categorical
        one has codes 0, 1, 2 ... and weights of every alternative against alternative 0.
    link : {"auto", "softplus", "log", "sigmoid", "sigmoid_gain", "softmax", "identity"}
        From the predictor to the mean; ``"auto"`` is softplus for counts, sigmoid for choices, softmax for
        choices among several. ``"sigmoid_gain"`` is a sigmoid times a gain of each unit, which is learned
        under a log-normal prior of width 1 around one above the count that 1 bin in 200 exceeds.
    prior : nt.GaussianPrior, nt.RidgePrior, nt.OneHotPrior or nt.GroupLasso
        On weights, in the units of the regressors, which are not rescaled.
    n_restarts : int
        Starts around the model of one state, three of every four from windows of the data grouped by k-means
        and the fourth at random; the one with the highest objective is the fit. The first k starts are the
        same whatever their number.
    stickiness : float
        Pseudo-counts of staying that each state is given, at the mean input where inputs drive transitions.
    transition_strength : float
        Precision of the normal prior on ``transition_weight``, per unit of each input.
    max_iter, tol : int, float
        A start stops when an iteration raises the objective by less than ``tol`` relative, or after
        ``max_iter``; ``tol=0`` goes on while it rises at all.
    uncertainty : {"auto", "full", "unit", "none"}
        How standard errors are found, from the observed information: of all parameters together (``"full"``,
        exact), or of each unit's weights as if those of other units were known (``"unit"``, for large
        populations; too small by what that leaves out); ``"auto"`` takes the first up to 400 parameters.
        There are none under ``GroupLasso``, whose objective has a kink where weights are zero.
    seed : int
        Start k is drawn from (seed, k).
    device : str
        Where the fit runs: ``"cpu"``, ``"cupy"``, ``"torch"``, ``"torch:cuda"``, ``"auto"``. Off the CPU the
        chain of states is a scan over time and all starts run together.
    dtype : {"float64", "float32"}
        Precision of the computation.
    """

    n_states: int
    family: str = "poisson"
    link: str = "auto"
    prior: GaussianPrior | RidgePrior | OneHotPrior | GroupLasso = field(default_factory=GaussianPrior)
    n_restarts: int = 8
    stickiness: float = 1.0
    transition_strength: float = 1.0
    max_iter: int = 200
    tol: float = 1e-7
    uncertainty: str = "auto"
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        links = lookup("family", self.family, FITTING_LINKS)
        lookup(f"link of the family {self.family}", self.link, dict.fromkeys(("auto", *links)))
        lookup("dtype", self.dtype, dict.fromkeys(DTYPES))
        lookup("uncertainty", self.uncertainty, dict.fromkeys((*UNCERTAINTY, "none")))
        check_numbers(
            self, positive=["transition_strength"], n_states=1, n_restarts=1, max_iter=1, stickiness=0, tol=0
        )
        if self.uncertainty not in ("auto", "none") and not self.prior.curved:
            raise SettingsError(
                f"there are no standard errors under {type(self.prior).__name__}: where weights are exactly "
                "zero its log posterior has a kink and no curvature",
                code="NT-SET-003", found=f"uncertainty={self.uncertainty!r}", fix='uncertainty="none"',
            )  # fmt: skip

    def fit(
        self,
        counts: xr.DataArray,
        design: xr.DataArray,
        connectome: xr.DataArray | None = None,
        transition_design: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Find the states, their weights, and when each holds.

        Parameters
        ----------
        counts : xarray.DataArray
            Spike counts (time, unit); or choices (trial), 0 and 1. ``session`` on time or trial says where
            the chain of states begins anew. Bins that were not observed are NaN, or False in the boolean
            coordinate ``observed`` (time) or (time, unit): they add nothing to any likelihood.
        design : xarray.DataArray
            From ``nt.glm_design`` or ``nt.choice_design``, made of the same array.
        connectome : xarray.DataArray, optional
            Anatomy. Under a normal prior weights (unit, unit_to), its mean, in the units of the predictor per
            spike; where there are several functions of the lag each gets its equal part. Under a
            ``OneHotPrior`` probabilities (unit, unit_to, type) of inhibitory, none and excitatory.
        transition_design : xarray.DataArray, optional
            Inputs (time, feature) that drive the transition into each sample. Rows of the transition matrix
            are then multinomial logistic in the inputs less their mean.

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
            ``GaussianPrior``, ``prior_width`` (kind, level) how far they stray; ``type_prob`` (state?, unit,
            unit_to, type), ``size_mode`` and ``size_width`` (type) belong to a ``OneHotPrior``. States are
            numbered by occupancy, largest first.
            For choices there is no ``unit_to``; among several alternatives ``alternative`` stands in its
            place. ``dispersion`` and ``gain`` (unit_to) where family and link have them. With a
            ``transition_design``: ``transition_weight`` (state, state_to, transition_feature), the change in
            the log odds of moving to ``state_to`` rather than staying per unit of the input, and
            ``transition`` is that at the mean input, ``transition_feature_mean``. ``weight_se``,
            ``feature_weight_se`` and ``bias_se``, and 90 % intervals ``transition_low`` and
            ``transition_high``; attrs ``uncertainty`` says how they were found. Under a ``OneHotPrior`` types
            are summed out: an error is near zero where a connection is surely absent.

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
        data = observations(counts, design, self.family)
        tell_limits(data, self.family, self.n_states)
        inputs = None if transition_design is None else transition_inputs(transition_design, data)
        given = given_of(data, self, connectome, inputs)
        found = best_of(given, self.prior, search_of(self))
        errors = errors_of(found, given, self)
        fit = as_dataset(found, data, given, inputs, errors)
        tell_shortcomings(fit, data)
        return stamp(fit, "switching_glm", self)

    def predict(
        self,
        fit: xr.Dataset,
        counts: xr.DataArray,
        design: xr.DataArray,
        transition_design: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """States in new data, and how well each sample was foretold.

        Returns
        -------
        xarray.Dataset
            ``state_prob`` (time, state) given whole sessions; ``filtered_prob`` given past and present;
            ``viterbi`` (time), the most probable path; ``log_likelihood`` (time), in nats, of each sample of
            all units given the past of its session; for counts and binary data ``silent_prob`` (time, unit),
            the probability that a unit has no spike, given that past.
        """
        data = observations(counts, design, self.family, fit)
        params, problem = rebuilt(fit, data, self, transition_design)
        log_prob = switching.log_likelihood(params, problem)
        found = switching.posterior(params, problem, log_prob)
        path, _ = hmm.viterbi(*host_chain(params, problem), to_numpy(log_prob), problem.start)
        own = sample_normaliser(params, problem)
        silent: dict[str, Any] = {}
        if self.family in SPIKING and data.units is not None:
            ahead = ahead_prob(params, problem, to_numpy(found.filtered_prob))
            silent["silent_prob"] = ((data.dim, "unit"), silent_prob(params, problem, ahead), {"units": "1"})
        return xr.Dataset(
            {
                **silent,
                "state_prob": ((data.dim, "state"), to_numpy(found.state_prob)),
                "filtered_prob": ((data.dim, "state"), to_numpy(found.filtered_prob)),
                "viterbi": (data.dim, path),
                "log_likelihood": (data.dim, to_numpy(found.log_predictive) + own, {"units": "nat"}),
            },
            coords={**data.coords, "state": fit["state"], **({"unit": data.units} if silent else {})},
        )

    def score(
        self,
        fit: xr.Dataset,
        counts: xr.DataArray,
        design: xr.DataArray,
        kind: str = "causal",
        transition_design: xr.DataArray | None = None,
    ) -> float:
        """How much better data are foretold than by each unit's mean, in bits per spike (per trial, choices).

        ``"causal"``: each sample given the past of its session (one-step prediction). ``"cosmoothing"``: each
        unit given states estimated from all other units, past and future; histories in the design, the unit's
        own among them, are given. The mean is that of the data scored, for counts under a Poisson law
        whatever the family, so that families compare. Activity: bits per sample and unit; tries: per try.
        """
        data = observations(counts, design, self.family, fit)
        params, problem = rebuilt(fit, data, self, transition_design)
        if kind == "cosmoothing" and (data.y.shape[1] < 2 or data.alternatives is not None):
            raise SettingsError("co-smoothing needs other units to tell the state", code="NT-SET-003")
        total = lookup("score", kind, SCORES)(params, problem)
        amount = scored_amount(data, self.family)
        if not amount > 0:
            raise SchemaError("there are no spikes to score", code="NT-DATA-010", found="counts are all zero")
        null = mean_log_likelihood(data.y, self.family, data.seen, data.trials)
        return float((total - null) / (amount * np.log(2)))


# ---- the data, laid out -----------------------------------------------------------------------------------
def given_of(
    data: Regression,
    settings: SwitchingGLM,
    connectome: xr.DataArray | None = None,
    inputs: Inputs | None = None,
) -> Given:
    """Data and model as plain arrays; couplings lie around the connectome, all else around zero."""
    kinds = np.array(["bias", *data.kind.astype(str)])
    mean, type_prior = np.zeros((kinds.size, data.y.shape[1])), None
    if connectome is not None:
        if settings.prior.connectome == "none":
            raise SettingsError(
                f"{type(settings.prior).__name__} has no place for a connectome", code="NT-SET-003",
                fix="nt.GaussianPrior takes weights (unit, unit_to); nt.OneHotPrior takes P(type)",
            )  # fmt: skip
        if settings.prior.connectome == "types":
            type_prior = anatomical_types(connectome, data)
        else:
            mean[1:][data.history] = anatomical(connectome, data)
    place = coupling_places(data) if data.history.any() else np.zeros((0, 0), int)
    return Given(
        x=data.x, y=data.y, start=data.start, kinds=kinds,
        prior_mean=mean, place=place, type_prior=type_prior,
        family=settings.family, link=link_of(settings),
        stickiness=settings.stickiness if settings.n_states > 1 else 0.0,
        device=settings.device, dtype=settings.dtype, seen=data.seen, trials=data.trials,
        inputs=None if inputs is None or settings.n_states == 1 else inputs.values,
        input_precision=settings.transition_strength,
    )  # fmt: skip


def search_of(settings: SwitchingGLM) -> Search:
    """How long and how often to look."""
    return Search(settings.n_states, settings.n_restarts, settings.max_iter, settings.tol, settings.seed)


def link_of(settings: SwitchingGLM) -> str:
    """The link that ``"auto"`` stands for, or the one named."""
    return FITTING_LINKS[settings.family][0] if settings.link == "auto" else settings.link


# ---- back to names ----------------------------------------------------------------------------------------
def errors_of(found: Found, given: Given, settings: SwitchingGLM) -> Errors | None:
    """Standard errors and intervals, where the objective has a curvature and they are asked for."""
    if settings.uncertainty == "none" or not settings.prior.curved:
        return None
    spread = found.extra.get("spread")  # stands in place of a normal prior
    problem = given.problem(found.widths if spread is None else given.any_widths)
    errors = UNCERTAINTY[settings.uncertainty](found.params, problem, spread)
    if np.isnan(errors.weights).any():
        warnings.warn(
            "the log posterior does not curve down in all directions where the fit came to rest: standard "
            "errors are NaN; take a larger max_iter or fewer states",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip
    if sharpest(found):
        warnings.warn(
            "sizes of connections came out all but equal: unless they are, samples are few and standard "
            "errors too small; take more data, or nt.OneHotPrior(learn=False)",
            NeurotoolsWarning, stacklevel=3,
        )  # fmt: skip
    return errors


def as_dataset(
    found: Found, data: Regression, given: Given, inputs: Inputs | None, errors: Errors | None
) -> xr.Dataset:
    """Everything found, on the host and named."""
    params = found.params
    arrays = FitArrays(
        weights=to_numpy(params.weights),
        centre=to_numpy(params.centre) if "centre" in found.extra else None,
        dispersion=to_numpy(params.dispersion) if given.family in switching.DISPERSED else None,
        transition=np.exp(to_numpy(params.log_transition)),
        initial_prob=np.exp(to_numpy(params.log_initial)),
        state_prob=to_numpy(found.posterior.state_prob),
        objective=found.trace, rounds=found.rounds, restarts=found.restarts,
        widths={kind: (width.around, width.shared) for kind, width in found.widths.items()},
        converged=found.converged,
        log_likelihood=float(found.posterior.log_evidence)
        + switching.log_normaliser(params, given.problem(given.any_widths)),
        learned=found.extra.get("learned", {}), coords=found.extra.get("coords", {}),
        gain=None if params.gain is None else to_numpy(params.gain),
        drive=None if params.drive is None else to_numpy(params.drive),
        inputs=None if params.drive is None else inputs,
        errors={} if errors is None else {
            "weights": errors.weights, "transition_low": errors.transition_low,
            "transition_high": errors.transition_high,
        },
        uncertainty="none" if errors is None else errors.how,
    )  # fmt: skip
    return named_fit(arrays, data)


def rebuilt(
    fit: xr.Dataset, data: Regression, settings: SwitchingGLM, transition_design: Any = None
) -> tuple[switching.Params, switching.Problem]:
    """Parameters of a fit beside new data, on the device."""
    check_same_columns(fit, data)
    inputs = known_inputs(fit, data, transition_design)

    def there(values: np.ndarray) -> Any:
        return to_device(np.ascontiguousarray(values), settings.device, settings.dtype)

    weights = flat_weights(fit, data, ("bias", "weight", "feature_weight"))
    dispersion = fit["dispersion"].to_numpy() if "dispersion" in fit else np.ones(data.y.shape[1])
    with np.errstate(divide="ignore"):  # a transition of probability zero is known, not wrong
        initial, transition = np.log(fit["initial_prob"].to_numpy()), np.log(fit["transition"].to_numpy())
    params = switching.Params(
        there(weights), there(weights.mean(axis=0)), there(initial), there(transition),
        there(np.atleast_1d(dispersion)), drive=None if inputs is None else there(driven_by(fit)),
        gain=there(np.atleast_1d(fit["gain"].to_numpy())) if "gain" in fit else None,
    )  # fmt: skip
    given = given_of(data, settings, inputs=inputs)
    return params, given.problem(given.any_widths)


def driven_by(fit: xr.Dataset) -> np.ndarray:
    """What inputs do to transitions (state, state_to, input), the base first."""
    weight = fit["transition_weight"].transpose("state", "state_to", "transition_feature").to_numpy()
    drive = drive_start(np.log(fit["transition"].to_numpy()), 1 + weight.shape[2])
    drive[..., 1:] = weight
    return drive
