"""Any model as a step of a scikit-learn Pipeline, grid search or cross-validation.

scikit-learn's contract is a mutable object and a plain matrix with one sample per row. The adapter keeps the
model frozen and inside: rows become one named dimension, columns another, and ``prepare`` makes what the
model takes of it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from neurotools.schema import continuous, time_axis

# Checks of scikit-learn that do not hold, each with its reason; a test reads this table and holds the
# adapter to every other check.
EXEMPT = {
    "check_methods_sample_order_invariance": "rows are moments in time: an affinity is made of slopes",
    "check_methods_subset_invariance": "rows are moments in time: the first of a batch has no slope",
}


class LabelledTransformer(TransformerMixin, BaseEstimator):
    """A model with ``fit`` and ``transform`` behind scikit-learn's face: rows in, rows out.

    Parameters
    ----------
    model : frozen dataclass
        Any model of the registry that has ``transform``. Its settings are reached as ``model__rank``.
    prepare : callable, optional
        Takes the labelled array (``columns``, ``rows``) and returns what ``model.fit`` takes, for example
        ``functools.partial(nt.differential_affinity, smooth_s=0.1)``.
    rows, columns : str
        Names of the dimensions that rows and columns are.
    sfreq : float
        Rows per second, in Hz.
    """

    def __init__(
        self,
        model: Any,
        prepare: Any = None,
        rows: Any = "time",
        columns: Any = "unit",
        sfreq: Any = 1.0,
    ) -> None:
        self.model = model
        self.prepare = prepare
        self.rows = rows
        self.columns = columns
        self.sfreq = sfreq

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with ``deep`` also the settings of the model, as ``model__rank``."""
        params = super().get_params(deep=False)
        if deep and dataclasses.is_dataclass(self.model):
            for field in dataclasses.fields(self.model):
                params[f"model__{field.name}"] = getattr(self.model, field.name)
        return params

    def set_params(self, **params: Any) -> LabelledTransformer:
        """Set parameters; a setting of the model replaces the model, which is frozen."""
        settings = {name.partition("__")[2]: value for name, value in params.items() if "__" in name}
        super().set_params(**{name: value for name, value in params.items() if "__" not in name})
        if settings:
            self.model = dataclasses.replace(self.model, **settings)
        return self

    def fit(self, X: Any, y: Any = None) -> LabelledTransformer:
        """Fit the model to a matrix (samples, features); ``y`` is not used."""
        self.fit_ = self.model.fit(self._labelled(X, reset=True))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the model's transform as a matrix (samples, components)."""
        check_is_fitted(self)
        return (
            self.model.transform(self.fit_, self._labelled(X, reset=False))
            .transpose(self.rows, ...)
            .to_numpy()
        )

    def score(self, X: Any, y: Any = None) -> float:
        """Return the model's own score on new rows."""
        check_is_fitted(self)
        return float(self.model.score(self.fit_, self._labelled(X, reset=False)))

    def _labelled(self, X: Any, reset: bool) -> Any:
        X = validate_data(
            self, X, reset=reset, dtype="float64", ensure_min_samples=2, ensure_min_features=2 if reset else 1
        )
        data = continuous(X.T, dim=self.columns, sfreq=self.sfreq, units="1")
        if self.rows != "time":
            data = data.rename(time=self.rows)
        return data if self.prepare is None else self.prepare(data)


# ---- encoders: a row is a window ---------------------------------------------------------------------------
# Checks that do not hold for encoders, each with its reason, read by the same test.
ENCODER_EXEMPT: dict[str, str] = {}


class EncoderTransformer(TransformerMixin, BaseEstimator):
    """An encoder of ``nt.encoders`` behind scikit-learn's face: rows are windows in, features out.

    Weights are kept in memory, so that a fitted step can be copied and sent to other processes; ``out`` keeps
    a checkpoint folder, too.

    Parameters
    ----------
    encoder : Encoder
        From ``nt.encoders.create``.
    n_channels : int
        Channels of a window; a row holds all samples of the first, then of the second, and so on.
    sfreq : float
        Samples per second, in Hz.
    layer, pool
        See ``Encoder.transform``.
    out : path, optional
        A new folder for the checkpoint.
    """

    def __init__(  # noqa: PLR0917  (scikit-learn wants every parameter by position, too)
        self,
        encoder: Any,
        n_channels: Any = 1,
        sfreq: Any = 1.0,
        layer: Any = -1,
        pool: Any = "mean",
        out: Any = None,
    ) -> None:
        self.encoder = encoder
        self.n_channels = n_channels
        self.sfreq = sfreq
        self.layer = layer
        self.pool = pool
        self.out = out

    def fit(self, X: Any, y: Any = None) -> EncoderTransformer:
        """Train the encoder on windows (row, sample); ``y`` is not used."""
        windows = self._windows(X, reset=True)
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(self.out) if self.out is not None else Path(scratch) / "encoder"
            fit = self.encoder.fit(windows, out=out)
            self.files_ = {file.name: file.read_bytes() for file in out.iterdir()}
        self.fit_ = fit.drop_vars([name for name in fit.data_vars if "window" in fit[name].dims])
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features of windows, (row, feature), in the type of the input."""
        check_is_fitted(self)
        windows = self._windows(X, reset=False)
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in self.files_.items():
                (Path(scratch) / name).write_bytes(content)
            fit = self.fit_.assign_attrs(folder=scratch)
            return (
                self.encoder.transform(fit, windows, self.layer, self.pool).to_numpy().astype(windows.dtype)
            )

    def _windows(self, X: Any, reset: bool) -> xr.DataArray:
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=("float64", "float32"),
            ensure_min_samples=2 if reset else 1,
            ensure_min_features=2 if reset else 1,
        )
        if X.shape[1] % self.n_channels:
            raise ValueError(
                f"a row of {X.shape[1]} values is no whole number of samples of {self.n_channels} channels"
            )
        values = X.reshape(len(X), self.n_channels, -1)
        return xr.DataArray(
            values, dims=("window", "channel", "time"),
            coords={"time": time_axis(values.shape[2], float(self.sfreq))},
            attrs={"sfreq": float(self.sfreq), "units": "1"},
        )  # fmt: skip
