"""Long work says how far it is, to whoever listens; what it calls inside stays silent."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from neurotools.progress import listening, working


def test_a_listener_hears_the_outermost_work_alone():
    heard = []
    with listening(lambda title, share: heard.append((title, share))), working("outer") as show:
        show(0.25)
        with working("inner") as inner:
            inner(0.5)
        show(1.0)
    assert heard == [("outer", 0.25), ("outer", 1.0)]


def test_without_a_listener_nothing_is_printed(capsys):
    with working("alone") as show:
        show(0.5)
    assert capsys.readouterr() == ("", "")


def test_listening_ends_with_its_block():
    heard = []
    with listening(lambda title, share: heard.append(share)):
        pass
    with working("later") as show:
        show(0.5)
    assert heard == []


def test_fits_say_how_far_they_are(rng):
    traces = xr.DataArray(
        rng.normal(size=(6, 40)), dims=("unit", "time"), coords={"time": np.arange(40) / 10}
    )
    heard = []
    with listening(lambda title, share: heard.append((title, share))):
        fit = nt.NTF(rank=2, n_restarts=2, max_iter=10, tol=0.0).fit(nt.differential_affinity(traces))
        nt.BlockModel().fit(nt.motif(fit))
    for title in ("NTF, rank 2", "communities"):
        shares = [share for said, share in heard if said == title]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
