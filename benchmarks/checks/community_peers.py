"""The block model beside Louvain, Leiden (scikit-network) and spectral clustering, with the truth known."""

from __future__ import annotations

import numpy as np
import xarray as xr

import neurotools as nt
from benchmarks import planted
from benchmarks.checks.communities import nmi
from benchmarks.peers import run_peer
from benchmarks.record import Row

N_GRAPHS = 10
# Strength exponent, edge mixing, weight mixing, mean degree, first seed.
SETTINGS = (
    (0.5, 0.5, 0.5, 25, 13), (1, 0.5, 0.5, 25, 13), (2, 0.5, 0.5, 25, 13), (2, 0.25, 0.5, 25, 13),
    (2, 0.5, 0.5, 25, 23), (2, 0.75, 0.5, 25, 13), (2, 0.5, 0.5, 10, 13), (2, 0.5, 0.25, 25, 13),
    (2, 0.5, 0.75, 25, 13),
)  # fmt: skip


def labels_of(model: nt.BlockModel, weights: np.ndarray) -> np.ndarray:
    """Communities of units; of a hierarchy its first level, whatever the truth."""
    label = model.fit(xr.DataArray(weights, dims=("unit", "unit_to")))["label"]
    return (label.isel(level=0) if "level" in label.dims else label).to_numpy()


def spectral(weights: np.ndarray, n_clusters: int) -> np.ndarray:
    """Spectral clustering (scikit-learn) of the weights; it is told how many communities there are."""
    from sklearn.cluster import SpectralClustering

    made = SpectralClustering(n_clusters, affinity="precomputed", random_state=0, assign_labels="cluster_qr")
    return made.fit_predict(weights)


# ---- the weighted benchmark ---------------------------------------------------------------------------
def lfr() -> list[Row]:
    """Nine settings of the weighted benchmark graphs (125 units), ten graphs each.

    Every graph is scored once, at the partition of the shortest description; of a hierarchy at its first
    level. No level is chosen by the score. Spectral clustering is told the number of communities.
    """
    return [row for setting in SETTINGS for row in lfr_rows(*setting)]


def lfr_rows(beta: float, edges: float, weights: float, degree: int, first: int) -> list[Row]:
    """Means over the graphs of one setting."""
    drawn = lfr_graphs(beta, edges, weights, degree, first)
    graphs, truths = np.stack([g for g, _ in drawn]), [t["label"].to_numpy() for _, t in drawn]
    found = {
        "block model": [labels_of(nt.BlockModel(seed=0), g) for g in graphs],
        "block model, nested": [labels_of(nt.BlockModel(nested=True, seed=0), g) for g in graphs],
        "spectral clustering, number given": [
            spectral(g, int(t.max()) + 1) for g, t in zip(graphs, truths, strict=True)
        ],
        **run_peer("sknetwork_communities", graphs=graphs),
    }
    mixing = np.mean([[float(t["edge_mixing"]), float(t["weight_mixing"])] for _, t in drawn], axis=0)
    planted_note = (
        f"{np.mean([t.max() + 1 for t in truths]):.1f} communities planted; mixing as drawn "
        f"{mixing[0]:.2f} and {mixing[1]:.2f}"
    )
    setting = f"LFR, beta {beta}, mixing of edges {edges}, of weights {weights}, degree {degree}"
    rows = []
    for name, labels in found.items():
        scores = np.array([nmi(one, truth) for one, truth in zip(labels, truths, strict=True)])
        count = np.mean([len(np.unique(one)) for one in labels])
        note = f"{count:.1f} found" + (f"; {planted_note}" if name == "block model" else "")
        seeds = f", seeds from {first}" if first != SETTINGS[0][-1] else ""
        rows.append(
            Row(f"{setting}{seeds}: NMI of {name}", float(scores.mean()), note=note,
                interval=(float(scores.min()), float(scores.max())))
        )  # fmt: skip
    return rows


def lfr_graphs(
    beta: float, edges: float, weights: float, degree: int, first: int
) -> list[tuple[np.ndarray, xr.Dataset]]:
    """Ten graphs of one setting; those of a single community are passed over."""
    drawn: list[tuple[np.ndarray, xr.Dataset]] = []
    seed = first
    while len(drawn) < N_GRAPHS:
        motif, truth = nt.simulate.weighted_lfr(
            mean_degree=degree, edge_mixing=edges, weight_mixing=weights, strength_exponent=beta, seed=seed
        )
        seed += 1
        if truth["label"].max() > 0:
            drawn.append((motif.to_numpy(), truth))
    return drawn


# ---- Leiden where communities differ in weights alone ---------------------------------------------------
def leiden_on_weights() -> list[Row]:
    """The ten graphs of ``planted_blocks`` whose blocks differ in mean weight alone, by Leiden."""
    truth = planted.five_blocks()
    graphs = np.stack([planted.weights_only(np.random.default_rng(seed)) for seed in range(N_GRAPHS)])
    found = run_peer("sknetwork_communities", graphs=graphs)
    ours = np.array([nmi(labels_of(nt.BlockModel(seed=0), one), truth) for one in graphs])
    scores = np.array([nmi(one, truth) for one in found["leiden"]])
    return [
        Row("NMI with five blocks of edge probability .3 that differ in mean weight: ours, mean of ten",
            float(ours.mean()), ">= 0.85", interval=(float(ours.min()), float(ours.max()))),
        Row("the same by Leiden (scikit-network)", float(scores.mean()), "<= 0.3",
            interval=(float(scores.min()), float(scores.max()))),
    ]  # fmt: skip


# ---- the limit of what can be detected ------------------------------------------------------------------
SIGNALS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
N_WEAK, DEGREE, N_EACH = 300, 12.0, 6


def weak_graph(rng: np.random.Generator, signal: float) -> tuple[np.ndarray, np.ndarray]:
    """Two blocks of equal size, mean degree 12, weights of mean 1 everywhere; and their labels.

    ``signal`` is (c_in - c_out)^2 / (2 (c_in + c_out)), with c_in and c_out the mean degrees to units of the
    own and the other block times two: 1 is where, in large sparse graphs, communities become detectable
    (Decelle, Krzakala, Moore and Zdeborova 2011, Physical Review E 84, 066106, eq. 28).
    """
    difference = np.sqrt(4 * DEGREE * signal)
    chance = (DEGREE + 0.5 * difference * np.array([[1, -1], [-1, 1]])) / N_WEAK
    labels = np.arange(N_WEAK) % 2
    return planted.block_graph(rng, labels, chance, np.ones((2, 2))), labels


def weak_signal() -> list[Row]:
    """NMI against the strength of the signal, beside Leiden on the edges alone (weights say nothing here)."""
    rows = []
    model = nt.BlockModel(degree_corrected=False, seed=0)
    for signal in SIGNALS:
        drawn = [weak_graph(np.random.default_rng(seed), signal) for seed in range(N_EACH)]
        found = run_peer("sknetwork_communities", graphs=np.stack([(g > 0).astype(float) for g, _ in drawn]))
        ours = [labels_of(model, g) for g, _ in drawn]
        alone = sum(one.max() == 0 for one in ours)
        for name, labels in (("ours", ours), ("Leiden (scikit-network), edges alone", found["leiden"])):
            scores = np.array([nmi(one, truth) for one, (_, truth) in zip(labels, drawn, strict=True)])
            note = f"one block in {alone} of {N_EACH}" if name == "ours" else ""
            rows.append(
                Row(f"two blocks of {N_WEAK // 2}, signal {signal} of the limit: NMI, {name}",
                    float(scores.mean()), interval=(float(scores.min()), float(scores.max())), note=note)
            )  # fmt: skip
    return rows
