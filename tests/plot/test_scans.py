from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError
from neurotools.plot import plot_state_scan, plot_type_calibration


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_gains_are_paired_by_fold():
    base = np.array([0.1, 0.5, 0.9])  # folds differ far more than models do
    gain = np.array([[0.0, 0, 0], [0.02, 0.03, 0.04], [0.01, 0.03, 0.05]])
    scan = xr.Dataset(
        {"heldout_score": (("n_states", "fold"), base + gain)},
        coords={"n_states": [1, 2, 3], "fold": [0, 1, 2]},
    ).assign_attrs(selected_n_states=2, per="trial")
    ax = plot_state_scan(scan)
    line, _, bars = ax.containers[0]
    np.testing.assert_allclose(line.get_ydata(), [0, 0.03, 0.03], atol=1e-12)
    low, high = bars[0].get_segments()[1][:, 1]
    assert (high - low) / 2 == pytest.approx(0.01 / np.sqrt(3))
    assert "bits per trial" in ax.get_ylabel()
    chosen = [text for text in ax.texts if text.get_text() == "chosen"]
    assert chosen[0].xy == pytest.approx((2, 0.03))
    with pytest.raises(SchemaError, match="'heldout_score'"):
        plot_state_scan(scan.drop_vars("heldout_score"))


def test_calibration_shows_its_error_and_how_much_it_rests_on(rng):
    prob = xr.DataArray(rng.dirichlet(np.ones(3), size=400), dims=("pair", "type"),
                        coords={"type": ["inhibitory", "none", "excitatory"]})  # fmt: skip
    truth = xr.DataArray(
        [rng.choice(prob["type"].to_numpy(), p=row / row.sum()) for row in prob.to_numpy()], dims="pair"
    )
    table = nt.type_calibration(prob, truth)
    ax = plot_type_calibration(table)
    line = ax.containers[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), table["predicted"][table["n"] > 0])
    error = table.attrs["expected_calibration_error"]
    assert f"calibration error {error:.3f}" in [text.get_text() for text in ax.texts]
    heights = [bar.get_height() for bar in ax.child_axes[0].patches]
    assert sum(heights) == 1200
    with pytest.raises(SchemaError, match="calibration is needed"):
        plot_type_calibration(xr.Dataset())
