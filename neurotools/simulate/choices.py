"""An animal that decides by one of several strategies, and switches between them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError
from neurotools.schema import recording_tree

# Rows: engaged, biased to 0, biased to 1. Columns: bias, stimulus, earlier choice. In log odds of choice 1
# per unit of the regressor; the stimulus is uniform over its contrasts.
WEIGHTS = np.array([[0.0, 5.0, 0.2], [-2.0, 1.2, 0.6], [2.0, 1.2, 0.6]])
CONTRASTS = np.array([-1.0, -0.5, -0.25, -0.125, -0.0625, 0.0, 0.0625, 0.125, 0.25, 0.5, 1.0])
STAY = np.array([0.985, 0.97, 0.97])
SPREAD = 0.25  # standard deviation of an animal's own weights around those of all


def switching_choices(
    *,
    n_subjects: int = 1,
    n_sessions: int = 12,
    n_trials: int = 300,
    n_strategies: int = 3,
    seed: int = 0,
) -> tuple[xr.DataTree, xr.Dataset]:
    """Choices between left (0) and right (1) by animals that switch between three strategies.

    A strategy is a logistic regression of the choice on a bias, the signed contrast of a stimulus, and the
    choice before: state 0 is engaged (the stimulus decides), states 1 and 2 are biased to one side and care
    little for the stimulus. States follow one another in a Markov chain that begins anew, uniformly, in every
    session; each holds some 30 to 70 trials. The form and the sizes are those published for mice (Ashwood et
    al. 2022, Nature Neuroscience 25, 201-212); the numbers are drawn here and are nobody's data.

    Parameters
    ----------
    n_subjects : int
        Animals; with several, each has weights of its own, normal around the common ones (sd 0.25).
    n_sessions, n_trials : int
        Sessions of each animal, and trials in each.
    n_strategies : {1, 2, 3}
        How many of the three, in this order.
    seed : int
        The same seed gives the same choices.

    Returns
    -------
    recording : xarray.DataTree
        ``behaviour/choice`` (trial) and ``behaviour/design`` (trial, feature) with the stimulus; ``session``
        and ``subject`` on ``trial``.
    truth : xarray.Dataset
        ``path`` (trial), the state of each, ``weight`` (subject, state, regressor), ``transition`` (state,
        state_to).

    Raises
    ------
    SettingsError
        A number is below 1, or there are more than three strategies.
    """
    for name, value in (("n_subjects", n_subjects), ("n_sessions", n_sessions), ("n_trials", n_trials)):
        if value < 1:
            raise SettingsError(f"{name} must be at least 1", found=value)
    if not 1 <= n_strategies <= len(WEIGHTS):
        raise SettingsError("n_strategies must be 1, 2 or 3", found=n_strategies)
    rng = np.random.default_rng(seed)
    move = _moves(n_strategies)
    spread = SPREAD if n_subjects > 1 else 0.0
    weight = WEIGHTS[:n_strategies] + spread * rng.normal(size=(n_subjects, n_strategies, WEIGHTS.shape[1]))
    whose = np.repeat(np.arange(n_subjects), n_sessions)
    runs = [_session(rng, weight[subject], move, n_trials) for subject in whose]
    state, stimulus, choice = (np.concatenate(part) for part in zip(*runs, strict=True))
    trial = np.arange(choice.size)
    names = np.array([f"mouse {k}" for k in range(n_subjects)])
    coords = {
        "trial": trial,
        "session": ("trial", trial // n_trials),
        "subject": ("trial", np.repeat(names[whose], n_trials)),
    }
    behaviour = xr.Dataset(
        {
            "choice": ("trial", choice, {"units": "1"}),
            "design": (("trial", "feature"), stimulus[:, None]),
        },
        coords={**coords, "feature": ["stimulus"]},
        attrs={"n_sessions": whose.size},
    )
    truth = xr.Dataset(
        {
            "path": ("trial", state),
            "weight": (("subject", "state", "regressor"), weight),
            "transition": (("state", "state_to"), move),
        },
        coords={
            **coords,
            "regressor": ["bias", "stimulus", "choice_back_1"],
            "state": np.arange(n_strategies),
        },
    ).drop_vars("subject")
    return recording_tree({"behaviour": behaviour}, kind="behaviour", simulated=1), truth


def _moves(n: int) -> np.ndarray:
    move = np.repeat((1 - STAY[:n])[:, None] / max(n - 1, 1), n, axis=1)
    np.fill_diagonal(move, STAY[:n] if n > 1 else 1.0)
    return move


def _session(
    rng: np.random.Generator, weight: np.ndarray, move: np.ndarray, n_trials: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States, stimuli and choices of one session."""
    stimulus = rng.choice(CONTRASTS, size=n_trials)
    state, choice = np.empty(n_trials, dtype="int64"), np.empty(n_trials, dtype="int64")
    now, before = int(rng.integers(len(weight))), 0.0
    for t, chance in enumerate(rng.random((n_trials, 2))):
        if t:
            now = min(int(np.searchsorted(np.cumsum(move[now]), chance[0])), len(weight) - 1)
        drive = weight[now] @ (1.0, stimulus[t], before)
        state[t], choice[t] = now, int(chance[1] < 1 / (1 + np.exp(-drive)))
        before = 2.0 * choice[t] - 1.0
    return state, stimulus, choice
