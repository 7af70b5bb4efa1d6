"""Models behind scikit-learn's face: its own checks, a pipeline, a grid search."""

import copy
import shutil
from dataclasses import dataclass
from unittest import SkipTest

import numpy as np
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import neurotools as nt
from neurotools.adapters.sklearn import ENCODER_EXEMPT, EXEMPT, EncoderTransformer, LabelledTransformer
from neurotools.schema import continuous


@dataclass(frozen=True)
class Prepare:
    """Affinities of traces; a test's name holds this text, which is the same in every process."""

    kernel: str = "geomean"

    def __call__(self, traces):
        return nt.differential_affinity(traces, kernel=self.kernel)


PREPARE = Prepare()
SMALL = LabelledTransformer(nt.NTF(rank=2, n_restarts=1, max_iter=5), prepare=PREPARE)


@parametrize_with_checks([SMALL], expected_failed_checks=lambda estimator: EXEMPT)
def test_scikit_learn_checks(estimator, check):
    try:
        check(estimator)
    except SkipTest as skipped:
        # One check asks for scikit-learn's switch of array libraries, which the adapter does not use.
        if "SCIPY_ARRAY_API" not in str(skipped):
            raise


def test_every_exemption_is_a_check_that_exists_and_has_a_reason():
    from sklearn.utils import estimator_checks

    for name, reason in [*EXEMPT.items(), *ENCODER_EXEMPT.items()]:
        assert hasattr(estimator_checks, name)
        assert len(reason) > 20


def traces(rng):
    return np.abs(np.cumsum(rng.normal(size=(200, 6)), axis=0))


def test_it_is_the_model_with_rows_as_time(rng):
    x = traces(rng)
    labelled = continuous(x.T, dim="unit", sfreq=1.0, units="1")
    wanted = SMALL.model.fit(PREPARE(labelled))
    fitted = clone(SMALL).fit(x)
    xr.testing.assert_identical(fitted.fit_, wanted)
    assert fitted.transform(x).shape == (200, 2)
    assert fitted.score(x) == pytest.approx(1 - wanted.attrs["relative_error"] ** 2, abs=0.05)


def test_settings_of_the_model_are_searched_and_the_model_stays_frozen(rng):
    steps = make_pipeline(MinMaxScaler(), clone(SMALL))
    search = GridSearchCV(steps, {"labelledtransformer__model__rank": [1, 2]}, cv=KFold(2)).fit(traces(rng))
    assert search.best_params_["labelledtransformer__model__rank"] in (1, 2)
    assert SMALL.model.rank == 2
    with pytest.raises(TypeError):
        clone(SMALL).set_params(model__no_such_setting=1)


# ---- encoders ---------------------------------------------------------------------------------------------
def small_encoder():
    """Nothing is held out: scikit-learn's own splits do that.

    Windows one at a time: float32 products of other batch sizes round differently (2e-7), and scikit-learn
    asks for 1e-7.
    """
    model = nt.encoders.create(
        "elm-nano", n_memory=4, n_branches=2, synapses_per_branch=3, steps=2, batch=4, held_out=0.0, at_once=1
    )
    return EncoderTransformer(model)


@parametrize_with_checks([small_encoder()], expected_failed_checks=lambda estimator: ENCODER_EXEMPT)
def test_scikit_learn_checks_of_encoders(estimator, check):
    try:
        check(estimator)
    except SkipTest as skipped:
        if "SCIPY_ARRAY_API" not in str(skipped):
            raise


def test_an_encoder_is_a_step_of_a_pipeline(rng, tmp_path):
    y = rng.integers(0, 2, 60)
    time = np.arange(40) / 40
    swing = np.sin(2 * np.pi * (3 + 6 * y[:, None, None]) * time + rng.uniform(0, 6, (60, 1, 1)))
    x = (swing + 0.3 * rng.normal(size=(60, 2, 40))).reshape(60, 80)
    step = clone(small_encoder()).set_params(n_channels=2, sfreq=40.0, pool="flat", out=tmp_path / "kept")
    pipe = make_pipeline(step, MinMaxScaler(), LogisticRegression(max_iter=500)).fit(x[:40], y[:40])
    assert pipe.score(x[40:], y[40:]) > 0.75
    found = pipe[0].transform(x)
    assert found.shape == (60, 40 * 4)
    assert nt.encoders.open(tmp_path / "kept").attrs["weights"] == "model.safetensors"
    shutil.rmtree(tmp_path / "kept")  # weights travel with the step, not with the folder
    np.testing.assert_array_equal(copy.deepcopy(pipe[0]).transform(x), found)
    with pytest.raises(ValueError, match="no whole number of samples of 3 channels"):
        step.set_params(n_channels=3, out=None).fit(x)
