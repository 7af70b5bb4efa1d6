"""Where a chain begins: near the counts, and found anew by each chain.

Units are grouped by correlation into more clusters than there may be, regrouped by the paths of these, and
clusters are joined as long as a bound of their evidence gains. Time is given states by how far and how fast
paths go, of several such sequences the one of the highest bound. Sweeps go on from there; those of tuning are
thrown away, so where a chain begins is not part of what is drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurotools.numerics import bicluster, bicluster_law, stickyhdp
from neurotools.numerics.bicluster_law import Counts, Draw, Prior

SMOOTH_BINS = 5  # of counts before their correlations
FIRST_DISPERSION = 10.0
DISPERSIONS = (1.0, 50.0)  # between which the next guess lies
REGROUPINGS = 2
ROUNDS = 5  # of settling where a path is only looked for
FEW_ROUNDS = 2  # where a unit comes or goes
RESTARTS = 2  # of the whole, since groups by correlation differ from time to time
SEARCHES = 1  # more, from clusters cut in two, under the states found
JOININGS = 3
EXCHANGES = 4
LONG_ROUNDS = 20  # where bounds are compared
NEAREST = 2  # clusters that each may join
LARGEST_LOG_RATE = 13.0
LARGEST_SEARCH = 300_000  # counts beyond which clusters are not joined: a bound takes too long
STATE_TRIALS = ((2, 9), (2, 21), (3, 9), (3, 21), (4, 15))  # states, and bins over which paths are averaged


@dataclass
class Block:
    """A cluster that may be: its units, its path, and the bound of its evidence."""

    units: np.ndarray
    path: np.ndarray
    merit: float


@dataclass(frozen=True)
class Search:
    """What all sets of units are judged by."""

    data: Counts
    prior: Prior
    dispersion: np.ndarray
    state: np.ndarray

    @property
    def hyper(self) -> tuple:
        """Settings of the kernels."""
        prior = self.prior
        return (
            self.state, self.data.start, prior.n_states, prior.unit_precision, prior.initial_sd,
            prior.column_precision, prior.noise,
        )  # fmt: skip

    def block(self, units: np.ndarray, rounds: int, path: np.ndarray | None = None) -> Block:
        """Units as one cluster, its path searched from their counts or from a path."""
        from neurotools.numerics.kernels import numba_bisearch as kernels

        counts = (self.data.y, self.data.seen, self.dispersion, units)
        m = self.prior.n_latent + 1
        path = kernels.rough_path(*counts, m) if path is None else path.copy()
        theta = np.zeros((self.dispersion.size, m))
        own, ok = kernels.settle(*counts, path, theta, *self.hyper, rounds)
        if not ok:
            return Block(units, np.zeros_like(path), -np.inf)
        return Block(units, path, float(kernels.merit(*counts, path, theta, own)))

    def evidence(self, paths: list[np.ndarray], units: Sequence[int] | None = None) -> np.ndarray:
        """Log evidence of the counts of units, or of all, on each path."""
        from neurotools.numerics.kernels.numba_biunits import fit_unit

        m = self.prior.n_latent + 1
        centre, low = np.empty(m), np.empty((m, m))
        y, seen, r = self.data.y, self.data.seen, self.dispersion
        return np.array([
            [fit_unit(y[i], seen[i], r[i], path, self.prior.unit_precision, centre, low) for path in paths]
            for i in (range(r.size) if units is None else units)
        ])  # fmt: skip


def first_draw(rng: np.random.Generator, data: Counts, prior: Prior) -> Draw:
    """Clusters by correlation and evidence, paths by the counts, states by what paths do."""
    n, n_time = data.y.shape
    dispersion = np.full(n, np.inf if prior.poisson else FIRST_DISPERSION)
    search = Search(data, prior, dispersion, np.zeros(n_time, dtype="int64"))
    if data.y.size > LARGEST_SEARCH:
        search, blocks = grouped(rng, search)
        state, blocks = with_states(rng, search, blocks)
        return placed(rng, replace(search, state=state), blocks)
    search, blocks = max((from_anew(rng, search) for _ in range(RESTARTS)), key=worth)
    for _ in range(SEARCHES):
        other = refined(search, exchanged(search, halved(rng, search, blocks)))
        if worth((search, other)) > worth((search, blocks)):
            blocks = other
    state, blocks = with_states(rng, search, blocks)
    search = replace(search, state=state)
    return placed(rng, search, exchanged(search, blocks))


def from_anew(rng: np.random.Generator, search: Search) -> tuple[Search, list[Block]]:
    """Clusters found without states, then states, and clusters settled under them."""
    search, blocks = grouped(rng, search)
    state, blocks = with_states(rng, search, refined(search, blocks))
    return replace(search, state=state), blocks


def worth(found: tuple[Search, list[Block]]) -> float:
    """Bound of the evidence of clusters and states, by which several searches are compared."""
    search, blocks = found
    return sum(block.merit for block in blocks) + switching(search, search.state)


def grouped(rng: np.random.Generator, search: Search) -> tuple[Search, list[Block]]:
    """Units in groups by correlation and by their paths, with dispersions guessed from these."""
    n = search.dispersion.size
    side = round(n**0.5)
    n_clusters = int(rng.integers(max(2, side - 1), max(3, side + 2) + 1))
    label = by_correlation(rng, search.data, min(n_clusters, n))
    blocks = [search.block(np.flatnonzero(label == c), ROUNDS) for c in range(int(label.max()) + 1)]
    blocks = regrouped(search, blocks)
    if not search.prior.poisson:
        search = replace(search, dispersion=guessed_dispersion(search, blocks))
    return search, blocks


def refined(search: Search, blocks: list[Block]) -> list[Block]:
    """Clusters joined and units exchanged in turn."""
    for _ in range(JOININGS):
        blocks = exchanged(search, joined(search, blocks))
    return [search.block(block.units, LONG_ROUNDS) for block in blocks]


def halved(rng: np.random.Generator, search: Search, blocks: list[Block]) -> list[Block]:
    """Each cluster in two by correlation."""
    halves = []
    for block in blocks:
        label = by_correlation(rng, search.data, min(2, block.units.size), block.units)
        halves += [block.units[label == c] for c in range(int(label.max()) + 1)]
    return [search.block(units, ROUNDS) for units in halves]


# ---- clusters -------------------------------------------------------------------------------------------
def by_correlation(
    rng: np.random.Generator, data: Counts, n_clusters: int, units: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """Spectral clusters of units whose smoothed counts rise or fall together, as labels from 0."""
    from scipy.ndimage import uniform_filter1d
    from sklearn.cluster import SpectralClustering

    y, seen = data.y[units], data.seen[units]
    n = y.shape[0]
    if n_clusters >= n or n_clusters == 1:
        return np.arange(n, dtype="int64") % n_clusters
    root = np.sqrt(np.where(seen, y, 0) + 0.375)
    mean = (root * seen).sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1)
    smooth = uniform_filter1d(np.where(seen, root, mean), SMOOTH_BINS, axis=1)
    smooth = smooth - smooth.mean(axis=1, keepdims=True)
    smooth += 0.1 * max(smooth.std(), 1e-6) * rng.standard_normal(smooth.shape)
    near = np.abs(np.corrcoef(smooth)) + 1e-3
    spectral = SpectralClustering(
        n_clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=int(rng.integers(2**31))
    )
    return np.unique(spectral.fit_predict(near), return_inverse=True)[1].astype("int64")


def regrouped(search: Search, blocks: list[Block]) -> list[Block]:
    """Each unit to the path on which its counts are most probable, a few times over."""
    for _ in range(REGROUPINGS):
        label = search.evidence([block.path for block in blocks]).argmax(axis=1)
        found = [(block, np.flatnonzero(label == c)) for c, block in enumerate(blocks)]
        blocks = [
            block if np.array_equal(units, block.units) else search.block(units, ROUNDS, block.path)
            for block, units in found
            if units.size
        ]
    return blocks


def joined(search: Search, blocks: list[Block]) -> list[Block]:
    """Clusters joined, the best pair first, while the bound of their evidence gains by it."""
    blocks = [search.block(block.units, LONG_ROUNDS) for block in blocks]
    tried: dict[tuple[bytes, bytes], tuple[float, Block]] = {}
    while len(blocks) > 1:
        for a, b in near(search, blocks):
            key = (blocks[a].units.tobytes(), blocks[b].units.tobytes())
            if key not in tried:
                both = search.block(np.union1d(blocks[a].units, blocks[b].units), LONG_ROUNDS)
                gain = both.merit - blocks[a].merit - blocks[b].merit
                tried[key] = -np.inf if np.isnan(gain) else gain, both  # where none of the three settled
        here = {block.units.tobytes(): block for block in blocks}
        open_pairs = [key for key in tried if key[0] in here and key[1] in here]
        best = max(open_pairs, key=lambda key: tried[key][0])
        gain, both = tried[best]
        if not gain + partition_gain(search.prior, here[best[0]].units.size, here[best[1]].units.size) > 0:
            break
        blocks = [block for name, block in here.items() if name not in best] + [both]
    return blocks


def exchanged(search: Search, blocks: list[Block]) -> list[Block]:
    """Units one by one to the path on which they are most probable, their own found without them."""
    blocks = list(blocks)
    for _ in range(EXCHANGES):
        moved = False
        for i in range(search.dispersion.size):
            home = next(c for c, block in enumerate(blocks) if i in block.units)
            rest = blocks[home].units[blocks[home].units != i]
            if not rest.size or len(blocks) == 1:
                continue
            without = search.block(rest, FEW_ROUNDS, blocks[home].path)
            paths = [without.path if c == home else block.path for c, block in enumerate(blocks)]
            best = int(search.evidence(paths, [i])[0].argmax())
            if best != home:
                grown = np.sort(np.append(blocks[best].units, i))
                blocks[home] = without
                blocks[best] = search.block(grown, FEW_ROUNDS, blocks[best].path)
                moved = True
        if not moved:
            break
    return blocks


def near(search: Search, blocks: list[Block]) -> list[tuple[int, int]]:
    """Pairs worth a try: of each cluster, those on whose paths its units are most probable."""
    evidence = search.evidence([block.path for block in blocks])
    pairs = set()
    for a, block in enumerate(blocks):
        order = np.argsort(-evidence[block.units].sum(axis=0))
        pairs |= {(min(a, int(b)), max(a, int(b))) for b in order[order != a][:NEAREST]}
    return sorted(pairs)


def partition_gain(prior: Prior, size: int, other: int) -> float:
    """Gain of the prior of the partition when two clusters become one, the number of clusters left aside."""
    from math import lgamma

    gamma = prior.gamma
    lost = lgamma(gamma) if gamma > 0 else 0.0
    return lgamma(size + other + gamma) - lgamma(size + gamma) - lgamma(other + gamma) + lost


def guessed_dispersion(search: Search, blocks: list[Block]) -> np.ndarray:
    """Of each unit, from how far counts are from their means."""
    draw = placed(np.random.default_rng(0), search, blocks)
    mean = np.exp(np.minimum(bicluster_law.log_rates(draw), LARGEST_LOG_RATE))
    y, seen = search.data.y, search.data.seen
    extra = (((y - mean) ** 2 - mean) * seen).sum(axis=1)
    return np.clip((mean**2 * seen).sum(axis=1) / np.maximum(extra, 1e-9), *DISPERSIONS)


# ---- states -----------------------------------------------------------------------------------------------
def with_states(
    rng: np.random.Generator, search: Search, blocks: list[Block]
) -> tuple[np.ndarray, list[Block]]:
    """Of several sequences of states, the one of the highest bound, and paths settled under it."""
    small = search.data.y.size <= LARGEST_SEARCH
    what = [path_features(np.stack([block.path for block in blocks]), width) for _, width in STATE_TRIALS]
    trials = [
        in_groups(rng, feature, min(n, search.prior.n_states))
        for feature, (n, _) in zip(what, STATE_TRIALS, strict=True)
    ]
    if not small:
        return trials[0], blocks
    best, found = -np.inf, (trials[0], blocks)
    # one state is no beginning: chains find a second where there is one only slowly
    known = [search.state] if np.unique(search.state).size > 1 else []
    for state in [*known, *trials]:
        settled = [
            replace(search, state=state).block(block.units, LONG_ROUNDS, block.path) for block in blocks
        ]
        total = sum(block.merit for block in settled) + switching(search, state)
        if total > best:
            best, found = total, (state, settled)
    return found


def path_features(paths: np.ndarray, width: int) -> np.ndarray:
    """How far paths are from their means and how fast they go, averaged over bins: (time, feature)."""
    from scipy.ndimage import uniform_filter1d

    far = ((paths - paths.mean(axis=1, keepdims=True)) ** 2).sum(axis=2)
    fast = (np.diff(paths, axis=1, prepend=paths[:, :1]) ** 2).sum(axis=2)
    feature = np.log(uniform_filter1d(np.concatenate([far, fast]), width, axis=1) + 1e-6).T
    return (feature - feature.mean(axis=0)) / np.maximum(feature.std(axis=0), 1e-9)


def in_groups(rng: np.random.Generator, feature: np.ndarray, n: int) -> np.ndarray:
    """Bins in groups of like features, by k-means."""
    from scipy.cluster.vq import kmeans2

    if n == 1 or feature.shape[0] <= n:
        return np.zeros(feature.shape[0], dtype="int64")
    centres = feature[rng.choice(feature.shape[0], n, replace=False)]
    return kmeans2(feature, centres, minit="matrix", missing="warn")[1].astype("int64")


def switching(search: Search, state: np.ndarray) -> float:
    """Log probability of a sequence of states, transitions integrated out around even favourites."""
    from neurotools.numerics.kernels.numba_bistates import _log_rows

    mass, share, _ = stickyhdp.fixed(search.prior.chain)
    n = search.prior.n_states
    weight = stickyhdp.concentration(np.full(n, 1 / n), mass, share)
    return float(_log_rows(stickyhdp.count_transitions(state, search.data.start, n), weight))


def placed(rng: np.random.Generator, search: Search, blocks: list[Block]) -> Draw:
    """The draw that a chain begins with."""
    from neurotools.numerics.kernels.numba_biunits import fit_unit

    data, prior, n = search.data, search.prior, search.dispersion.size
    m = prior.n_latent + 1
    cluster, theta, scratch = np.zeros(n, dtype="int64"), np.zeros((n, m)), np.empty((m, m))
    for c, block in enumerate(blocks):
        cluster[block.units] = c
        for i in block.units:
            given = (data.y[i], data.seen[i], search.dispersion[i], block.path)
            fit_unit(*given, prior.unit_precision, theta[i], scratch)
    draw = Draw(
        cluster=cluster, theta=theta, dispersion=search.dispersion.copy(),
        latent=np.stack([block.path for block in blocks]), state=search.state.copy(),
        chain=stickyhdp.draw_prior(rng, prior.n_states, prior.chain),
    )  # fmt: skip
    bicluster.draw_chain(rng, draw, data, prior)
    return draw
