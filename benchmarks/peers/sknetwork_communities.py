"""Louvain and Leiden of scikit-network on weighted graphs: ``python sknetwork_communities.py given found``.

Given ``graphs`` (graph, unit, unit_to), symmetric; found ``louvain`` and ``leiden``, labels (graph, unit).
Weighted modularity of Newman and Girvan, resolution 1, seed 0: the settings of the package but for the kind
of modularity, which is named so that both maximise the same.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy import sparse
from sknetwork.clustering import Leiden, Louvain


def main(given: str, found: str) -> None:
    """Read graphs, write labels."""
    with np.load(given) as file:
        graphs = file["graphs"]
    labels = {
        name: np.stack(
            [
                method(modularity="newman", random_state=0).fit_predict(sparse.csr_matrix(one))
                for one in graphs
            ]
        )
        for name, method in (("louvain", Louvain), ("leiden", Leiden))
    }
    np.savez(found, **labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
