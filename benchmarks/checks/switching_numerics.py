"""Switching GLMs: speed beside other programs, objectives that never fall, intervals that hold the truth."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.record import DataAbsentError, Row
from benchmarks.timing import best_of, gemm_peak, one_thread
from neurotools.numerics import (
    glm,
    hmm,
    hmm_scan,
    switching,
    switching_errors,
    switching_gibbs,
    switching_starts,
)
from neurotools.numerics.switching_fit import start_spread
from neurotools.numerics.switching_scales import log_gain_centre

N_TIME, N_STATE, N_UNIT = 50_000, 5, 50


# ---- speed ----------------------------------------------------------------------------------------------
PEER = """
import json, sys, time
import numpy as np
file = np.load(sys.argv[1])
initial, move, log_prob = file["initial"], file["move"], file["log_prob"]

def best(call, n):
    call()
    times = []
    for _ in range(n):
        begin = time.process_time(); call(); times.append(time.process_time() - begin)
    return min(times)

found = {}
from hmmlearn import _hmmc
likelihood = np.exp(log_prob - log_prob.max(axis=1, keepdims=True))
def ours_in_hmmlearn():
    out = _hmmc.forward_scaling(initial, move, likelihood)
    log, forward, scaling = out
    backward = _hmmc.backward_scaling(initial, move, likelihood, scaling)
    prob = forward * backward
    prob /= prob.sum(axis=1, keepdims=True)
    pairs = _hmmc.compute_scaling_xi_sum(forward, move, backward, likelihood)
    return log, prob, pairs
found["hmmlearn"] = best(ours_in_hmmlearn, 5)
log, prob, pairs = ours_in_hmmlearn()
found["hmmlearn_log"] = float(log + log_prob.max(axis=1).sum())
found["hmmlearn_pairs"] = pairs.tolist()
import jax
jax.config.update("jax_enable_x64", True)
from dynamax.hidden_markov_model import hmm_smoother
given = [jax.numpy.asarray(part) for part in (initial, move, log_prob)]
call = lambda: jax.block_until_ready(hmm_smoother(*given))
found["dynamax"] = best(call, 5)
answer = call()
found["dynamax_log"] = float(answer.marginal_loglik)
found["dynamax_pairs"] = np.asarray(answer.trans_probs).tolist()
found["dynamax_prob"] = np.asarray(answer.smoothed_probs)[::500].tolist()
print(json.dumps(found))
"""


def chain_beside_peers() -> list[Row]:
    """Forward-backward with summed pair statistics beside hmmlearn and dynamax, in turn, on one thread.

    The peers live in an interpreter of their own, whose path stands in ``NEUROTOOLS_PEERS``.
    """
    python = os.environ.get("NEUROTOOLS_PEERS")
    if not python:
        raise DataAbsentError("an interpreter with hmmlearn and dynamax, named by NEUROTOOLS_PEERS")
    initial, move, log_prob = drawn_chain()
    chain = (np.log(initial), np.log(move), log_prob)
    ours, peers = [], []
    with TemporaryDirectory() as folder:
        np.savez(Path(folder) / "chain.npz", initial=initial, move=move, log_prob=log_prob)
        for _ in range(3):
            ours.append(best_of(lambda: hmm.smooth(*chain), repeats=20))
            peers.append(ask_peers(python, Path(folder)))
    found = hmm.smooth(*chain)
    peer = {name: min(p[name] for p in peers) for name in ("hmmlearn", "dynamax")}
    best, start = min(ours), hmm.session_starts(N_TIME, None)
    scanned = best_of(lambda: hmm_scan.smooth(*chain, start), repeats=2)
    same = [abs(peers[0][f"{name}_log"] / float(found.log_evidence) - 1) for name in ("hmmlearn", "dynamax")]
    pairs = np.abs(np.array(peers[0]["dynamax_pairs"]) - found.pair_sum).max()
    prob = np.abs(np.array(peers[0]["dynamax_prob"]) - found.state_prob[::500]).max()
    return [
        Row("forward-backward, 50,000 samples, five states", 1e3 * best, unit="ms CPU"),
        Row("the same, hmmlearn (C++, scaled)", 1e3 * peer["hmmlearn"], unit="ms CPU"),
        Row("the same, dynamax (compiled, sequential, float64)", 1e3 * peer["dynamax"], unit="ms CPU"),
        Row("the same as a scan, which devices take, on the host", 1e3 * scanned, unit="ms CPU"),
        Row("hmmlearn over ours", peer["hmmlearn"] / best, ">= 2"),
        Row("dynamax over ours", peer["dynamax"] / best, ">= 5"),
        Row("the scan over ours", scanned / best),
        Row("log evidence, relative difference from both", float(np.max(same)), "<= 1e-12"),
        Row("summed pair statistics, difference from dynamax", float(pairs), "<= 1e-6"),
        Row("state probabilities, difference from dynamax", float(prob), "<= 1e-8"),
    ]


def drawn_chain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Initial and transition probabilities, and log likelihoods."""
    rng = np.random.default_rng(0)
    move = np.full((N_STATE, N_STATE), 0.005) + 0.975 * np.eye(N_STATE)
    return np.full(N_STATE, 1 / N_STATE), move, rng.normal(scale=3.0, size=(N_TIME, N_STATE))


def ask_peers(python: str, folder: Path) -> dict[str, float]:
    """Seconds and answers of the peers."""
    script = folder / "peers.py"
    script.write_text(PEER)
    pinned = {
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }  # fmt: skip
    done = subprocess.run(
        [python, str(script), str(folder / "chain.npz")],
        env={**os.environ, **pinned}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def gram_speed() -> list[Row]:
    """250 weighted Gram matrices of 51 columns over 50,000 samples, beside a loop and a square product."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(N_TIME, 51)), rng.random((N_TIME, N_STATE * N_UNIT))

    def loop(columns: range) -> np.ndarray:
        return np.stack([x.T @ (weights[:, k, None] * x) for k in columns])

    few = range(0, N_STATE * N_UNIT, 10)
    shares, ratios = [], []
    with one_thread():
        for _ in range(3):  # in turn, so that a busy neighbour hits all alike
            packed = best_of(lambda: glm.weighted_grams(x, weights), repeats=2)
            shares.append(N_TIME * 51 * 52 * N_STATE * N_UNIT / packed / gemm_peak())
            ratios.append(best_of(lambda: loop(few), repeats=1) * 10 / packed)
    wanted = loop(few)
    off = np.abs(glm.weighted_grams(x, weights)[::10] - wanted).max() / np.abs(wanted).max()
    return [
        Row("250 weighted Gram matrices of 51 columns", packed, unit="s CPU"),
        Row("share of the speed of a square matrix product", float(np.median(shares)), ">= 0.75",
            interval=(min(shares), max(shares)), note="median of three, both measured in turn"),
        Row("a loop over states and units takes longer by", float(np.median(ratios)), ">= 3",
            interval=(min(ratios), max(ratios)), note="every tenth pair timed"),
        Row("relative difference from the loop", float(off), "<= 1e-12"),
    ]  # fmt: skip


def iteration_speed() -> list[Row]:
    """One iteration of expectation-maximisation, its parts, and its growth with samples, units and states."""
    with one_thread():
        peak = gemm_peak()
        base, flops = iteration(N_TIME, N_UNIT, N_STATE)
        rows = [
            Row("one iteration, 50,000 samples, 50 units, five states", base, unit="s CPU"),
            Row("its matrix products at the speed of a square one", flops / peak, unit="s CPU",
                note="Gram matrices, predictors twice, gradient: the roofline"),
            Row("share of the roofline", flops / peak / base),
        ]  # fmt: skip
        for name, size in {
            "twice the samples": (2 * N_TIME, N_UNIT, N_STATE),
            "half the units": (N_TIME, N_UNIT // 2, N_STATE),
            "ten states": (N_TIME, N_UNIT, 2 * N_STATE),
        }.items():  # fmt: skip
            seconds, more = iteration(*size)
            rows.append(Row(f"{name}: time over that of the first", seconds / base,
                            note=f"arithmetic grows {more / flops:.2f} times"))  # fmt: skip
    return rows


def iteration(n_time: int, n_unit: int, n_state: int) -> tuple[float, float]:
    """Seconds of one iteration, and the arithmetic of its matrix products."""
    rng = np.random.default_rng(0)
    n_column = n_unit + 1
    x = np.concatenate([np.ones((n_time, 1)), rng.poisson(0.3, size=(n_time, n_unit)) * 0.5], axis=1)
    given = plain_problem(x, rng.poisson(0.4, size=(n_time, n_unit)).astype("float64"), "poisson", "softplus")
    begin = switching.random_start(switching.one_state(given, max_iter=2), n_state, 0.1, (0,))
    found = switching.posterior(begin, given)

    def once() -> None:
        params, known = switching.maximise(begin, found, given)
        switching.posterior(params, given, known)

    wide = n_state * n_unit
    flops = n_time * n_column * (n_column + 1) * wide + 3 * 2 * n_time * n_column * wide
    return best_of(once, repeats=2), float(flops)


def plain_problem(x: np.ndarray, y: np.ndarray, family: str, link: str) -> switching.Problem:
    """Weights around a centre, widths one half and one; biases wide."""
    n_column, n_unit = x.shape[1], y.shape[1]
    return switching.Problem(
        x=x, y=y, start=np.arange(len(x)) == 0, family=family, link=link,
        precision=np.array([1.0, *[4.0] * (n_column - 1)]), centre_mean=np.zeros((n_column, n_unit)),
        centre_precision=np.array([0.01, *[1.0] * (n_column - 1)]), stickiness=1.0,
        log_gain_centre=log_gain_centre(y) if link in glm.GAINED else None,
    )  # fmt: skip


# ---- intervals that hold the truth ------------------------------------------------------------------------
SIMULATIONS = 200
FIRST_SEEDS = (30_000, 40_000)  # of drawn truths, of the fixed one; set before any was run
STARTS = 8  # as many as a fit takes: intervals are those of the best optimum, and a poor search finds another
STICKY = 30.0


def coverage() -> list[Row]:
    """90 % intervals of weights and transitions: truths drawn from the model's prior, and one fixed truth."""
    first, later = FIRST_SEEDS
    seeds = range(first, first + SIMULATIONS)
    drawn = [simulated(seed, truth_of(np.random.default_rng((seed, 1)))) for seed in seeds]
    fixed = truth_of(np.random.default_rng(12345))
    again = [simulated(later + seed, fixed) for seed in range(SIMULATIONS // 2)]
    rows = []
    for name, part in (("weights", 0), ("transitions", 1)):
        held, interval = pooled([result[part] for result in drawn])
        rows += [
            Row(f"{name}: share of 90 % intervals that hold the truth, at least", held, ">= 0.87",
                interval=interval, note=f"{SIMULATIONS} truths drawn from the prior, bootstrap over them"),
            Row(f"{name}: the same, at most", held, "<= 0.93", interval=interval),
        ]  # fmt: skip
    for name, part in (("weights", 0), ("transitions", 1)):
        held, interval = pooled([result[part] for result in again])
        rows.append(Row(f"{name}: the same for one fixed truth", held, interval=interval))
    return [*rows, Row("fits whose curvature was not a maximum's", sum(r[2] for r in [*drawn, *again]))]


def pooled(held: list[np.ndarray]) -> tuple[float, tuple[float, float]]:
    """Share of intervals that hold the truth, and its 95 % interval by bootstrap over simulations."""
    share = np.array([h.mean() for h in held])
    rng = np.random.default_rng(0)
    draws = share[rng.integers(0, share.size, (2000, share.size))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(share.mean()), (float(low), float(high))


Truth = tuple[np.ndarray, np.ndarray, np.ndarray]


def own_problem(x: np.ndarray, y: np.ndarray) -> switching.Problem:
    """The model whose prior the truths are drawn from."""
    n_column, n_unit = x.shape[1], y.shape[1]
    return switching.Problem(
        x=x, y=y, start=np.arange(len(x)) % 150 == 0, family="poisson", link="log",
        precision=np.full(n_column, 4.0), centre_mean=np.zeros((n_column, n_unit)),
        centre_precision=np.full(n_column, 4.0), stickiness=STICKY,
    )  # fmt: skip


def truth_of(rng: np.random.Generator) -> Truth:
    """Weights (state, column, unit), transitions and initial probabilities, drawn from the prior."""
    centre = rng.normal(scale=0.5, size=(3, 4))
    weights = centre + rng.normal(scale=0.5, size=(2, 3, 4))
    moves = np.stack([rng.dirichlet(1 + STICKY * np.eye(2)[k]) for k in range(2)])
    return weights, moves, rng.dirichlet(np.full(2, 2.0))


def simulated(seed: int, truth: Truth) -> tuple[np.ndarray, np.ndarray, int]:
    """Whether each interval of weights and of transitions holds the truth, in one drawn data set."""
    weights, moves, first = truth
    rng = np.random.default_rng((seed, 2))
    x = np.concatenate([np.ones((600, 1)), rng.normal(size=(600, 2))], axis=1)
    state = np.zeros(600, int)
    for t in range(600):
        state[t] = rng.choice(2, p=first if t % 150 == 0 else moves[state[t - 1]])
    rate = np.exp(np.einsum("tc,tcu->tu", x, weights[state]))
    given = own_problem(x, rng.poisson(rate).astype("float64"))
    base = switching.one_state(given)
    spread = start_spread(x, [0.5, 0.5, 0.5])
    runs = [
        switching.expectation_maximisation(
            switching_starts.start(base, given, 2, spread, (seed, k)), given, 300, 1e-6
        )
        for k in range(STARTS)
    ]
    best = max(runs, key=lambda run: run[2][-1])[0]
    params = switching.expectation_maximisation(best, given, 300, 1e-10)[0]
    errors = switching_errors.together(params, given)
    away = [((params.weights[order] - weights) ** 2).sum() for order in ([0, 1], [1, 0])]
    order = np.array([[0, 1], [1, 0]][int(np.argmin(away))])
    reach = 1.6448536269514722 * errors.weights[order]
    low, high = (part[order][:, order] for part in (errors.transition_low, errors.transition_high))
    failed = int(np.isnan(errors.weights).any())
    return (
        (np.abs(params.weights[order] - weights) <= reach).ravel(),
        ((low <= moves) & (moves <= high))[:, 0],  # the two of a row are one
        failed,
    )


# ---- draws from the posterior -----------------------------------------------------------------------------
def beside_draws() -> list[Row]:
    """Modes and standard errors beside means and deviations of Gibbs draws, two small problems."""
    rows = []
    for family, link in (("bernoulli", "sigmoid"), ("negative_binomial", "log")):
        given = two_states(family, link)
        runs = [
            switching.expectation_maximisation(
                switching.random_start(switching.one_state(given), 2, 0.5, (0, k)), given, 300, 1e-11
            )
            for k in range(4)
        ]
        params = max(runs, key=lambda run: run[2][-1])[0]
        errors = switching_errors.together(params, given)
        draws = switching_gibbs.sample(params, given, n_draws=4000, n_tune=200, seed=0)
        mean, deviation = draws.weights.mean(axis=0), draws.weights.std(axis=0)
        away = np.abs(mean - params.weights) / deviation
        ratio = errors.weights / deviation
        inside = (errors.transition_low < draws.transition) & (draws.transition < errors.transition_high)
        name = family.replace("_", " ")
        rows += [
            Row(f"{name}: largest distance of mode from mean, in deviations", float(away.max()), "<= 0.5"),
            Row(f"{name}: standard errors over deviations", float(np.median(ratio)),
                interval=(float(ratio.min()), float(ratio.max())), note="median, least and largest"),
            Row(f"{name}: least standard error over deviation", float(ratio.min()), ">= 0.8"),
            Row(f"{name}: draws of transitions inside their 90 % interval, farthest from .9",
                float(np.abs(inside.mean(axis=0) - 0.9).max()), "<= 0.06"),
        ]  # fmt: skip
    return rows


def two_states(family: str, link: str) -> switching.Problem:
    """800 samples of three units whose drive turns round with the state."""
    rng = np.random.default_rng(7)
    x = np.column_stack([np.ones(800), rng.normal(size=800)])
    weights = np.array([[[1.0, -1.0, 0.5], [1.0, 0.5, -1.0]], [[-1.0, 1.0, -0.5], [-0.5, 1.0, 1.0]]])
    drive = np.einsum("tc,tcu->tu", x, weights[(np.arange(800) // 40) % 2])
    y = {
        "bernoulli": lambda: rng.random(drive.shape) < 1 / (1 + np.exp(-drive)),
        "negative_binomial": lambda: rng.negative_binomial(3.0, 3.0 / (3.0 + np.exp(drive))),
    }[family]()
    return switching.Problem(
        x=x, y=y.astype("float64"), start=np.arange(800) % 200 == 0, family=family, link=link,
        precision=np.ones(2), centre_mean=np.zeros((2, 3)), centre_precision=np.ones(2), stickiness=2.0,
    )  # fmt: skip
