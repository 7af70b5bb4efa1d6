"""The picture of who shares a community with whom."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import plot_drawn_communities


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn_communities(rng):
    labels = np.array([1, 0, 0, 1, 0, 2])
    together = np.clip((labels[:, None] == labels) - rng.uniform(0, 0.2, (6, 6)), 0, 1)
    together = (together + together.T) / 2
    np.fill_diagonal(together, 1)
    return xr.Dataset(
        {
            "label": ("unit", labels),
            "coassignment": (("unit", "unit_to"), together),
            "n_blocks_draw": ("draw", np.array([3, 3, 2, 3, 4])),
        },
        coords={"unit": list("abcdef"), "unit_to": list("abcdef")},
    )


def test_units_stand_by_community_and_the_title_says_how_many(rng):
    communities = drawn_communities(rng)
    ax = plot_drawn_communities(communities)
    picture = np.asarray(ax.images[0].get_array())
    assert sorted(picture.ravel()) == sorted(communities["coassignment"].to_numpy().ravel())
    assert picture[:3, :3].min() > 0.7
    assert picture[:3, 3:].max() < 0.3
    assert "3 communities (2 to 4" in ax.get_title(loc="left")
    several = communities.expand_dims(component=[7])
    assert "motif 7" in plot_drawn_communities(several, 7).get_title(loc="left")


def test_without_draws_there_is_nothing_to_draw(rng):
    with pytest.raises(SchemaError, match="co-assignments"):
        plot_drawn_communities(drawn_communities(rng).drop_vars("coassignment"))
