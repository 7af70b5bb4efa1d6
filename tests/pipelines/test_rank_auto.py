"""The rank that held-out data choose, from the command line's word to the fit."""

import numpy as np
import pytest
import xarray as xr
from neurotools.pipelines import command_line
from neurotools.pipelines import dynamic_connectome as module

import neurotools as nt
from neurotools import schema
from neurotools.errors import NeurotoolsWarning, SettingsError


def recording(coupled):
    """Eight units, in two groups that move together, or each for itself."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(8, 300))
    bursts = (rng.random((2, 300)) < 0.05) * 6.0
    values = np.apply_along_axis(lambda row: np.convolve(row, np.exp(-np.arange(20) / 4))[:300], 1, bursts)
    x = values[np.arange(8) // 4] + 0.05 * noise if coupled else noise
    traces = schema.continuous(x, dim="unit", sfreq=10.0, units="1")
    return xr.DataTree.from_dict({"/calcium": traces.to_dataset(name="activity")})


def settings(**options):
    model = nt.NTF(rank=5, n_restarts=2, max_iter=40, tol=1e-4)
    return module.Settings(model=model, auto_rank=True, rank_scan=(1, 2, 3), rank_nulls=3, nulls=0, **options)


def test_the_rank_of_the_fit_is_the_one_that_was_chosen():
    result = module.analyse(recording(coupled=True), settings())
    chosen = result["rank_scan"].attrs["selected_rank"]
    assert chosen in (2, 3)
    assert result["fit"].sizes["component"] == chosen
    assert result["rank_scan"].sizes["surrogate"] == 3


def test_units_that_go_their_own_way_have_no_motif_and_that_is_said():
    with pytest.warns(NeurotoolsWarning, match="no number of motifs is supported"):
        result = module.analyse(recording(coupled=False), settings())
    assert result["rank_scan"].attrs["selected_rank"] == 0
    assert result["fit"].sizes["component"] == 1


def test_rank_on_the_command_line():
    assert command_line._rank(None) == []
    assert command_line._rank("auto") == ["auto_rank=true"]
    assert command_line._rank("6") == ["rank=6"]
    with pytest.raises(SettingsError, match="rank_nulls"):
        module.Settings(rank_nulls=-1)
