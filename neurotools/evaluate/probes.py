"""How much features say about a label: a linear probe on parts of a recording that it never saw."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect, lookup

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse penalties to choose from, inside the parts trained on
N_BOOTSTRAP = 1000
MIN_PARTS = 3


def probe(
    features: xr.DataArray, target: str, groups: str | int, *, log: bool = False, seed: int = 0
) -> xr.Dataset:
    """Tell a label from features by logistic regression, each part held out once.

    Parameters
    ----------
    features : xarray.DataArray
        (window, ...) or (trial, ...), with coordinates along that dimension; all else is features.
    target : str
        The coordinate to tell: classes.
    groups : str or int
        The coordinate whose values are held out one after the other; also inside, where the penalty is
        chosen. At least three values. Or a number of stretches of windows that follow one another; windows
        beside the stretch that is held out are then not trained on.
    log : bool
        Take the logarithm of the features first: powers.
    seed : int
        Of the bootstrap.

    Returns
    -------
    xarray.Dataset
        ``predicted`` (window) and ``score``, the balanced accuracy over all held-out windows, with
        ``score_low`` and ``score_high``, a 95 % interval by drawing windows of each class anew: windows
        that resemble their neighbours make it too narrow. attrs ``chance``.

    Raises
    ------
    SchemaError
        A coordinate is missing, there are fewer than three parts, or a part leaves one class to train on.
    """
    expect(features, "features, an array with labels,", xr.DataArray, fix="model.transform(fit, windows)")
    if "trial" in features.dims:
        features = features.drop_vars("trial", errors="ignore").rename(trial="window")
    label, n = _labels(features, target), features.sizes["window"]
    part = np.arange(n) * groups // n if isinstance(groups, int) else _labels(features, groups)
    x = features.transpose("window", ...).to_numpy().reshape(n, -1)
    x = np.log(x) if log else x
    names = np.unique(part)
    if len(names) < MIN_PARTS or len(np.unique(label)) < 2:
        raise SchemaError(
            "a probe needs three parts to hold out and two classes to tell", code="NT-DATA-010",
            found=f"{len(names)} parts of {groups!r}, {len(np.unique(label))} classes of {target!r}",
        )  # fmt: skip
    predicted = np.empty_like(label)
    for name in names:
        out = part == name
        train = ~out
        if isinstance(groups, int):
            train[1:] &= ~out[:-1]
            train[:-1] &= ~out[1:]
        predicted[out] = _fitted(x[train], label[train], part[train]).predict(x[out])
    right = (predicted == label).astype(float)
    low, high = _interval(right, label, seed)
    return xr.Dataset(
        {"predicted": ("window", predicted), "score": balanced(right, label),
         "score_low": low, "score_high": high},
        coords={name: c for name, c in features.coords.items() if c.dims == ("window",)},
        attrs={"target": target, "groups": str(groups), "chance": 1.0 / len(np.unique(label))},
    )  # fmt: skip


def balanced(right: np.ndarray, label: np.ndarray) -> float:
    """Mean over classes of the share told right."""
    return float(np.mean([right[label == one].mean() for one in np.unique(label)]))


def _labels(features: xr.DataArray, name: str) -> np.ndarray:
    along = {str(n): None for n, c in features.coords.items() if c.dims == ("window",)}
    if name not in along:
        lookup("coordinate along window", name, along)
    return features[name].to_numpy().astype(str)


def _fitted(x: np.ndarray, label: np.ndarray, part: np.ndarray):  # type: ignore[no-untyped-def]
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(label)) < 2:
        raise SchemaError("a part that is held out takes a whole class with it", code="NT-DATA-010",
                          fix="choose other groups")  # fmt: skip
    steps = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    search = GridSearchCV(
        steps, {"logisticregression__C": STRENGTHS}, cv=GroupKFold(len(np.unique(part))),
        scoring="balanced_accuracy",
    )  # fmt: skip
    return search.fit(x, label, groups=part)


def _interval(right: np.ndarray, label: np.ndarray, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(N_BOOTSTRAP):
        drawn = [rng.choice(right[label == one], int((label == one).sum())) for one in np.unique(label)]
        scores.append(float(np.mean([values.mean() for values in drawn])))
    return float(np.quantile(scores, 0.025)), float(np.quantile(scores, 0.975))
