"""Communities of several motifs by one set of names."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError


def of(labels, dim="unit"):
    labels = np.asarray(labels)
    return xr.Dataset(
        {"label": (("component", dim), labels)}, coords={"component": np.arange(len(labels)) + 3}
    )


def test_same_communities_get_the_same_name_whatever_their_number():
    base = np.repeat([0, 1, 2], [4, 3, 2])
    found = nt.match_communities(of([base, np.array([2, 0, 1])[base], base]))
    assert (found["label"] == found["label"][0]).all()
    assert found["size"].to_numpy().tolist() == [[4, 3, 2]] * 3
    assert np.isnan(found["overlap"][0]).all()
    assert (found["overlap"][1:] == 1).all()
    assert np.allclose(found["similarity"], 1)
    assert list(found["component"].to_numpy()) == [3, 4, 5]


def test_a_community_of_other_units_has_a_name_of_its_own():
    one = np.repeat([0, 1], [6, 6])
    two = np.array([0] * 6 + [1] * 3 + [2] * 3)
    three = np.arange(12) % 2
    found = nt.match_communities(of([one, two, three]), least=0.4)
    label = found["label"].to_numpy()
    assert (label[0, :6] == label[1, :6]).all()
    # Half of a community is above two fifths and joins; the other half is new; alternating ones are new, too.
    assert len({*label[0], *label[1]}) == 3
    assert not set(label[2]) & set(label[0])
    assert found["size"].to_numpy().sum(1).tolist() == [12] * 3
    strict = nt.match_communities(of([one, two]), least=0.9)["label"].to_numpy()
    assert len({*strict[0], *strict[1]}) == 4


def test_the_first_level_of_a_hierarchy_is_matched():
    labels = np.stack([np.stack([np.arange(6) // 2, np.zeros(6, int)])] * 2)
    nested = xr.Dataset({"label": (("component", "level", "region"), labels)})
    found = nt.match_communities(nested)
    assert found["label"].dims == ("component", "region")
    assert (found["label"][0] == found["label"][1]).all()
    assert found.sizes["community"] == 3


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(SettingsError, match="least"):
        nt.match_communities(of([[0, 1]]), least=0)
    with pytest.raises(SchemaError, match="several motifs"):
        nt.match_communities(xr.Dataset({"label": ("unit", [0, 1])}))
