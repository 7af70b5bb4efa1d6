"""Bi-clustering on recordings and on planted truth: what is found, how it is foretold, and what others find.

Rivals are given the number of clusters that ours found, or the true one where it is known, which ours is not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import platformdirs
import xarray as xr

import neurotools as nt
from benchmarks.checks import bicluster_sampler
from benchmarks.record import Row, code_hash, shared
from benchmarks.timing import one_thread
from neurotools import schema
from neurotools.numerics import partitions
from neurotools.numerics.predictive import poisson_log_prob
from neurotools.provenance import atomic

REFERENCE = "data/glm_reference"
N_FOLDS = 5
SWEEPS = {"tune": 40, "draws": 30, "chains": 1}  # of a fold
LONG_SWEEPS = {"tune": 250, "draws": 250, "chains": 2}  # where chains are compared
PLANTED_SWEEPS = {"tune": 400, "draws": 1000, "chains": 2}
PLANTED_LOSS = "pear"  # that of the estimate whose accuracy is compared
PLANTED_CODE = (
    *bicluster_sampler.KERNELS,
    "neurotools/numerics/kernels/numba_bisearch.py",
    "neurotools/models/bicluster",
    "neurotools/simulate/biclusters.py",
)
SEEDS = range(10)
LEAST = 1e-3  # of a rate that a rival foretells, in counts per bin


# ---- counts of the Allen Institute ----------------------------------------------------------------------
def allen() -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """63 neurons in 720 bins of 0.5 s; region of each neuron, epoch of each bin."""
    folder = shared(REFERENCE)
    read = lambda name: np.loadtxt(folder / f"allen_719161530_{name}.csv", delimiter=",", dtype=int)  # noqa: E731
    values = read("counts_500ms")
    counts = schema.counts_array(values if values.shape[0] == 720 else values.T, bin_width=0.5)
    return counts, np.ravel(read("region_label")), np.ravel(read("epoch_label"))


def allen_heldout() -> list[Row]:
    """Five folds of speckled counts, foretold by both families and by a low-rank approximation."""
    counts, _, _ = allen()
    with one_thread():
        nb, poisson = (
            nt.heldout(nt.BiCluster(family=family), counts, n_folds=N_FOLDS, seed=0, **SWEEPS)
            for family in ("nb", "poisson")
        )
    y = counts.to_numpy().astype("float64")
    masks = _folds(y.shape)
    rank_nine = [bits_per_spike(y, hidden, soft_svd(y, hidden, rank=9)) for hidden in masks]
    better = int((nb["log_prob"] > poisson["log_prob"]).sum())
    bits, inside = nb["bits_per_spike"].to_numpy(), nb["coverage"].to_numpy()
    sweeps = f"{SWEEPS['tune']} + {SWEEPS['draws']} sweeps, {SWEEPS['chains']} chain for each fold"
    return [
        Row("held-out bits per spike beyond each neuron's mean, mean of five folds", float(bits.mean()),
            ">= 0.035", interval=(float(bits.min()), float(bits.max())), unit="bit", note=sweeps),
        Row("the same, Poisson counts", float(poisson["bits_per_spike"].mean()), unit="bit"),
        Row("the same, singular values of rank 9, shrunk as is best for these very counts",
            float(np.mean(rank_nine)), unit="bit"),
        Row("held-out counts in the 90 % predictive interval, least fold", float(inside.min()), ">= 0.88"),
        Row("the same, largest fold", float(inside.max()), "<= 0.92"),
        Row("folds in which negative binomial counts are foretold better than Poisson", better, ">= 5"),
        Row("gain per held-out count of the first over the second",
            float((nb["log_prob"] - poisson["log_prob"]).mean()), unit="nat"),
    ]  # fmt: skip


def allen_chains() -> list[Row]:
    """Whether two chains find the same neurons together, and what their clusters have to do with regions."""
    counts, region, epoch = allen()
    with one_thread():
        post = nt.BiCluster().sample(counts, cores=2, **LONG_SWEEPS)
    each = [nt.point_partition(chain_of(post, chain)) for chain in range(2)]
    both = nt.point_partition(post)
    told = nt.convergence(post).attrs
    ari = partitions.adjusted_rand_index
    units, states = ([one[name].to_numpy() for one in each] for name in ("unit_label", "state_label"))
    note = f"{LONG_SWEEPS['tune']} + {LONG_SWEEPS['draws']} sweeps"
    return [
        Row("adjusted Rand index of partitions of neurons, two chains", ari(*units), ">= 0.8", note=note),
        Row("the same of states", ari(*states)),
        Row("largest R-hat", float(told["worst_rhat"])),
        Row("clusters of the estimate", int(both["n_clusters"])),
        Row("states of the estimate", int(both["n_states"])),
        Row("adjusted Rand index of clusters and regions", ari(both["unit_label"].to_numpy(), region - 1),
            note="never tuned for"),
        Row("adjusted Rand index of states and epochs", ari(both["state_label"].to_numpy(), epoch)),
    ]  # fmt: skip


def chain_of(post: xr.DataTree, chain: int) -> xr.DataTree:
    """One chain of a posterior."""
    return post.map_over_datasets(lambda group: group.isel(chain=[chain]) if "chain" in group.dims else group)


# ---- planted --------------------------------------------------------------------------------------------
def planted() -> list[Row]:
    """Three clusters of ten units, two states, ten recordings; the rival is told there are three.

    Each recording is kept once it is done: a run that was stopped goes on.
    """
    found = [_planted_once(seed) for seed in SEEDS]
    units, states, three, rhat, spectral, changed = (np.array(column) for column in zip(*found, strict=True))
    n = len(found)
    return [
        Row("adjusted Rand index of clusters, median of ten", float(np.median(units)), ">= 0.95",
            interval=(float(units.min()), float(units.max()))),
        Row("recordings with three clusters in most draws", int(three.sum()), ">= 9"),
        Row("bins in their true state, median", float(np.median(states)), ">= 0.954",
            interval=(float(states.min()), float(states.max()))),
        Row("adjusted Rand index of spectral clustering told there are three, median",
            float(np.median(spectral))),
        Row("recordings in which spectral clustering is not better", int((units >= spectral).sum()), ">= 8"),
        Row("largest R-hat of rates, median", float(np.median(rhat)), "<= 1.05",
            interval=(float(rhat.min()), float(rhat.max()))),
        Row("chains in whose draws the number of clusters changes", int(changed.sum()),
            note="in the others it is that of the search for a beginning"),
        Row("recordings", n, note=f"{PLANTED_SWEEPS['tune']} + {PLANTED_SWEEPS['draws']} sweeps, two chains"),
    ]  # fmt: skip


def _planted_once(seed: int) -> np.ndarray:
    length = "-".join(str(n) for n in PLANTED_SWEEPS.values())
    name = f"{code_hash(PLANTED_CODE)[:12]}-{length}-{PLANTED_LOSS}"
    folder = Path(platformdirs.user_cache_dir("neurotools")) / "planted" / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{seed}.npy"
    if not file.exists():
        found = np.array(_planted(seed), dtype="float64")
        with atomic(file) as staged, staged.open("wb") as stream:
            np.save(stream, found, allow_pickle=False)
    return np.load(file, allow_pickle=False)


def _planted(seed: int) -> tuple[float, float, bool, float, float, int]:
    recording, truth = nt.simulate.biclusters(seed=seed)
    counts, labels = recording["counts/counts"], truth["unit_label"].to_numpy()
    with one_thread():
        post = nt.BiCluster(seed=seed).sample(counts, cores=2, **PLANTED_SWEEPS)
    best = nt.point_partition(post, loss=PLANTED_LOSS)
    told = nt.convergence(post)
    rates = told["rhat"].where(told["variable"].isin(["log_rate_mean", "interval_rate"]), drop=True)
    numbers = post["posterior/n_clusters"].to_numpy()
    number, changed = np.bincount(numbers.ravel()).argmax(), (np.ptp(numbers, axis=1) > 0).sum()
    rival = spectral_clusters(counts.to_numpy(), 3)
    return (
        partitions.adjusted_rand_index(best["unit_label"].to_numpy(), labels),
        _share_right(best["state_label"].to_numpy(), truth["state_label"].to_numpy()),
        bool(number == 3), float(rates.max()), partitions.adjusted_rand_index(rival, labels), int(changed),
    )  # fmt: skip


def _share_right(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of bins in their true state, each state of the truth paired with at most one that was found."""
    return float((partitions.match_labels(truth, found) == truth).mean())


def spectral_clusters(values: np.ndarray, n_clusters: int) -> np.ndarray:
    """Spectral clustering of units (columns) by the sizes of their correlations."""
    from sklearn.cluster import SpectralClustering

    affinity = np.abs(np.nan_to_num(np.corrcoef(values.T)))
    model = SpectralClustering(n_clusters, affinity="precomputed", random_state=0, assign_labels="kmeans")
    return model.fit_predict(affinity).astype(np.int64)


# ---- tectum and motor cortex ----------------------------------------------------------------------------
N_FRAMES = 1200  # of the tectum, about ten minutes
EVENT_SD = 2.0  # standard deviations of noise above the running baseline that make an event
BASELINE_FRAMES = 101


def tectum() -> list[Row]:
    """Spontaneous events of 114 neurons of a zebrafish: clusters beside rivals and published assemblies."""
    from scipy.io import loadmat

    folder = shared("data/calcium_zebrafish_tectum")
    traces = loadmat(folder / "zf_20151104-f1.mat")["activity_matrix"][:, :N_FRAMES]
    counts = schema.counts_array(events(traces).T, bin_width=0.5)
    published = assemblies(folder / "zf_20151104-f1_assembly_assignments.csv", traces.shape[0])
    return [*_beside(counts, published, "published assemblies"),
            Row("neurons in more than one published assembly", int((published.sum(axis=0) > 1).sum()),
                note="a partition can hold them in one at most"),
            Row("neurons in none", int((published.sum(axis=0) == 0).sum()))]  # fmt: skip


def events(traces: np.ndarray) -> np.ndarray:
    """One where a trace (unit, frame) first rises above its baseline by more than noise, else zero."""
    from scipy.ndimage import median_filter

    above = traces - median_filter(traces, size=(1, BASELINE_FRAMES), mode="nearest")
    noise = 1.4826 * np.median(np.abs(above), axis=1, keepdims=True)
    active = above > EVENT_SD * np.maximum(noise, 1e-12)
    return active.astype(np.int64)


def assemblies(path: Path, n_units: int) -> np.ndarray:
    """Members of each published assembly, (assembly, unit)."""
    lines = path.read_text().splitlines()
    member = np.zeros((len(lines), n_units), dtype=bool)
    for row, line in enumerate(lines):
        member[row, [int(part) - 1 for part in line.split(",")]] = True
    return member


def motor_cortex() -> list[Row]:
    """Units of motor cortex in the first 200 s of reaching, in bins of 0.2 s."""
    from scipy.io import loadmat

    values = loadmat(shared("data/spikes_m1_reaching") / "m1_stevenson_2011.mat")["spikes"].astype(np.int64)
    bins = values[:, :4000].reshape(values.shape[0], -1, 4).sum(axis=2)
    busy = bins.mean(axis=1) >= 0.2  # one spike per second
    return _beside(schema.counts_array(bins[busy].T, bin_width=0.2), None, "")


def _beside(counts: xr.DataArray, published: np.ndarray | None, name: str) -> list[Row]:
    """Ours and rivals on the same held-out counts, judged by bits per spike."""
    y = counts.to_numpy().astype("float64")
    hidden = _folds(y.shape)[0]
    held_out = xr.DataArray(hidden, dims=counts.dims, coords=counts.coords)
    with one_thread():
        post = nt.BiCluster().sample(counts, held_out=held_out, cores=2, **{**SWEEPS, "chains": 2})
    best, score = nt.point_partition(post), nt.heldout_score(post)
    ours, k = best["unit_label"].to_numpy(), int(best["n_clusters"])
    seen = np.where(hidden, y[~hidden].mean(), y)
    rivals = {
        "spectral clustering": spectral_clusters(seen, k), "spectral bi-clustering": bi_spectral(seen, k)
    }  # fmt: skip
    rows = [
        Row("clusters of the estimate", k),
        Row("states of the estimate", int(best["n_states"])),
        Row("mean confidence of units", float(best["unit_confidence"].mean())),
        Row("largest R-hat", float(nt.convergence(post).attrs["worst_rhat"])),
        Row("held-out bits per spike", float(score["bits_per_spike"]), unit="bit"),
        Row("held-out counts in the 90 % predictive interval", float(score["coverage"])),
        Row(
            "bits per spike by means of the clusters of the estimate",
            by_clusters(y, hidden, ours),
            unit="bit",
        ),
    ]
    for rival, labels in rivals.items():
        rows += [
            Row(f"the same, {rival} told their number", by_clusters(y, hidden, labels), unit="bit"),
            Row(f"adjusted Rand index with {rival}", partitions.adjusted_rand_index(ours, labels)),
        ]
    if published is not None:
        rows += _against(published, name, {"estimate": ours, **rivals}, y, hidden)
    return rows


def _against(
    published: np.ndarray, name: str, found: dict[str, np.ndarray], y: np.ndarray, hidden: np.ndarray
) -> list[Row]:
    """Agreement with groups that overlap, on units that are in exactly one of them."""
    once = published.sum(axis=0) == 1
    group = published.argmax(axis=0).astype(np.int64)
    own = np.where(once, group, len(published) + np.arange(once.size))
    rows = [Row(f"bits per spike by means of {name}", by_clusters(y, hidden, own), unit="bit")]
    return rows + [
        Row(f"adjusted Rand index with {name}, units in one, {who}",
            partitions.adjusted_rand_index(group[once], labels[once]))
        for who, labels in found.items()
    ]  # fmt: skip


# ---- rivals and judges ----------------------------------------------------------------------------------
def _folds(shape: tuple[int, int]) -> list[np.ndarray]:
    """The masks of ``nt.heldout`` with its default seed."""
    from neurotools.evaluate.heldout_counts import speckled

    return speckled(shape, N_FOLDS, np.random.default_rng(0))


def bits_per_spike(y: np.ndarray, hidden: np.ndarray, rate: np.ndarray) -> float:
    """Gain of a rate over each unit's mean where it was seen, on hidden counts, under a Poisson law."""
    mean = np.where(hidden, 0, y).sum(axis=0) / (~hidden).sum(axis=0)
    flat = np.maximum(np.broadcast_to(mean, y.shape), LEAST)
    gain = poisson_log_prob(y, np.maximum(rate, LEAST)) - poisson_log_prob(y, flat)
    return float(gain[hidden].sum() / (y[hidden].sum() * np.log(2)))


def by_clusters(y: np.ndarray, hidden: np.ndarray, labels: np.ndarray) -> float:
    """Bits per spike when a unit is foretold by its mean times how active the others of its cluster are."""
    seen = ~hidden
    mean = np.where(hidden, 0, y).sum(axis=0) / seen.sum(axis=0)
    rate = np.empty_like(y)
    for unit in range(y.shape[1]):
        mates = (labels == labels[unit]) & (np.arange(labels.size) != unit)
        observed = (y[:, mates] * seen[:, mates]).sum(axis=1)
        expected = (mean[mates] * seen[:, mates]).sum(axis=1)
        rate[:, unit] = mean[unit] * (observed + 1.0) / (expected + 1.0)
    return bits_per_spike(y, hidden, rate)


def soft_svd(y: np.ndarray, hidden: np.ndarray, rank: int, n_iter: int = 30) -> np.ndarray:
    """Rates from square roots of counts by singular values, hidden entries filled in as one goes.

    The threshold is the best of several for the hidden counts themselves, which favours this rival.
    """
    root = np.sqrt(y)
    mean = np.where(hidden, 0, root).sum(axis=0) / (~hidden).sum(axis=0)
    best, most = np.broadcast_to(mean**2, y.shape), -np.inf
    for share in (0.05, 0.15, 0.4):
        filled = np.where(hidden, mean, root) - mean
        threshold = share * np.linalg.svd(filled, compute_uv=False)[0]
        low = np.zeros_like(filled)
        for _ in range(n_iter):
            u, s, v = np.linalg.svd(np.where(hidden, low, root - mean), full_matrices=False)
            low = (u[:, :rank] * np.maximum(s[:rank] - threshold, 0)) @ v[:rank]
        rate = np.maximum(low + mean, 0.0) ** 2 + 0.25  # a root of a count has variance near a quarter
        bits = bits_per_spike(y, hidden, rate)
        if bits > most:
            best, most = rate, bits
    return best


def bi_spectral(values: np.ndarray, n_clusters: int) -> np.ndarray:
    """Labels of units (columns) by spectral bi-clustering of counts."""
    from sklearn.cluster import SpectralBiclustering

    shown = values + 1e-3
    model = SpectralBiclustering((min(n_clusters, 6), n_clusters), method="bistochastic", random_state=0)
    return model.fit(shown).column_labels_.astype(np.int64)
