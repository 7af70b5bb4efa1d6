"""How an animal's choices depend on a stimulus in each state: what it did, and what the fit says it does."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError, did_you_mean, expect
from neurotools.evaluate.calibration import wilson

LEVELS = 60  # of the stimulus, at which the fit is drawn
MOST_SEEN = 5000  # trials over which the curve of the fit is a mean


def psychometric(
    fit: xr.Dataset,
    choice: xr.DataArray,
    design: xr.DataArray,
    stimulus: str | None = None,
    n_bins: int = 11,
) -> xr.Dataset:
    """Share of choices of 1 by the level of a stimulus, in each state of a switching model.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit of ``nt.SwitchingGLM(family="bernoulli")`` to choices.
    choice, design : xarray.DataArray
        As for the fit; ``state_prob`` of the fit, or of a prediction passed as ``fit.assign(...)``, has to be
        of the same trials.
    stimulus : str, optional
        Which regressor. When omitted the first that is no earlier choice and has more than five levels.
    n_bins : int
        Bins of equal numbers of trials, or fewer where the stimulus has fewer levels.

    Returns
    -------
    xarray.Dataset
        ``p_choice`` (state, bin): share of choices of 1, every trial counted by the probability of the state;
        ``p_choice_interval`` (state, bin, bound), 90 % (Wilson 1927, JASA 22, 209-212, with Kish's effective
        number of trials); ``n_trials`` (state, bin), the summed probabilities; ``stimulus`` (bin), the mean
        level in a bin. ``curve`` (state, level) is what the weights say at each level, the other regressors
        being as they were: a mean over the trials of the state. attrs ``stimulus``, ``choice_mean``.

    Raises
    ------
    SettingsError
        There is no such regressor.
    SchemaError
        The fit is not of choices, or of other trials.
    """
    expect(fit, "a fit to choices", xr.Dataset)
    for part, what in ((choice, "the choices"), (design, "their design")):
        expect(part, what, xr.DataArray)
    if "feature_weight" not in fit or "trial" not in choice.dims or "unit_to" in fit["feature_weight"].dims:
        raise SchemaError("a psychometric curve needs a fit to choices", found=", ".join(map(str, fit)))
    if fit["state_prob"].sizes.get("trial") != choice.sizes["trial"]:
        raise SchemaError(
            "the states are of other trials than the choices", code="NT-DATA-005",
            found=dict(fit["state_prob"].sizes), expected=dict(choice.sizes),
        )  # fmt: skip
    name = _named(design, stimulus)
    level = design.sel(feature=name).to_numpy().astype("float64")
    # Sums round alike only if the arrays lie alike, wherever the fit was before.
    weight = np.ascontiguousarray(fit["state_prob"].transpose("state", "trial"))
    chosen = choice.to_numpy().astype("float64")
    bins, member = _bins(level, n_bins)
    total = weight @ member
    effective = np.divide(total**2, weight**2 @ member, out=np.zeros_like(total), where=total > 0)
    share = np.divide((weight * chosen) @ member, total, out=np.full_like(total, np.nan), where=total > 0)
    grid, curve = _curve(fit, design, name)
    return xr.Dataset(
        {
            "p_choice": (("state", "bin"), share, {"units": "1"}),
            "p_choice_interval": (("state", "bin", "bound"), wilson(share, effective), {"units": "1"}),
            "n_trials": (("state", "bin"), total, {"units": "1"}),
            "stimulus": ("bin", bins),
            "curve": (("state", "level"), curve, {"units": "1"}),
        },
        coords={"state": fit["state"].to_numpy(), "bin": np.arange(bins.size), "level": grid,
                "bound": ["low", "high"]},
        attrs={"stimulus": name, "interval": 0.9},
    )  # fmt: skip


def _named(design: xr.DataArray, stimulus: str | None) -> str:
    names = [str(name) for name in design["feature"].to_numpy()]
    if stimulus is not None:
        if stimulus not in names:
            raise SettingsError(
                f"the design has no regressor {stimulus!r}.{did_you_mean(stimulus, names)}",
                code="NT-SET-001", expected="one of " + ", ".join(names),
            )  # fmt: skip
        return stimulus
    kinds = design["kind"].to_numpy() if "kind" in design.coords else np.full(len(names), "stimulus")
    for name, kind in zip(names, kinds, strict=True):
        if kind != "choice" and np.unique(design.sel(feature=name).to_numpy()).size > 5:
            return name
    raise SettingsError(
        "no regressor has more than five levels, so which is the stimulus has to be said",
        expected="one of " + ", ".join(names),
    )  # fmt: skip


def _bins(level: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean level in each bin, and which trial is in which (trial, bin)."""
    if n_bins < 1:
        raise SettingsError("n_bins must be at least 1", found=n_bins)
    distinct = np.unique(level)
    if distinct.size <= n_bins:
        number = np.searchsorted(distinct, level)
    else:
        edges = np.unique(np.quantile(level, np.linspace(0, 1, n_bins + 1)[1:-1]))
        number = np.searchsorted(edges, level, side="right")
        number = np.unique(number, return_inverse=True)[1]
    member = (number[:, None] == np.arange(number.max() + 1)).astype("float64")
    return (level @ member) / member.sum(axis=0), member


def _curve(fit: xr.Dataset, design: xr.DataArray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Levels, and the mean probability of choosing 1 at each (state, level), over the trials of a state."""
    n = design.sizes["trial"]
    some = np.unique(np.linspace(0, n - 1, min(n, MOST_SEEN)).astype(int))
    seen = design.transpose("trial", "feature").isel(trial=some)
    weights = fit["feature_weight"].sel(feature=design["feature"].to_numpy()).transpose("feature", "state")
    own, level = weights.sel(feature=name).to_numpy(), seen.sel(feature=name).to_numpy()
    x, w = (np.ascontiguousarray(part) for part in (seen, weights))
    rest = fit["bias"].to_numpy() + x @ w - level[:, None] * own  # (trial, state)
    prob = np.ascontiguousarray(fit["state_prob"].transpose("trial", "state"))[some]
    share = prob / np.maximum(prob.sum(axis=0), 1e-300)
    low, high = np.quantile(design.sel(feature=name), [0.005, 0.995])
    grid = np.linspace(low, high, LEVELS)
    chance = 1 / (1 + np.exp(-(rest[:, :, None] + own[:, None] * grid)))
    return grid, (share[:, :, None] * chance).sum(axis=0)
