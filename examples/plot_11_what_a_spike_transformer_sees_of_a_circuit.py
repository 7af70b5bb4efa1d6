"""
What does a spike transformer see of a circuit?
===============================================

A spike transformer reads spikes as a language: it names the next neuron that fires from those that fired
before. To do so it has to attend to the right ones. We train a very small one on a simulated circuit in which
two hubs drive twelve neurons each, and ask whether its attention tells who drives whom, beside a plain count
of which spikes follow which.
"""

# %%
# A circuit that is known
# -----------------------
# Thirty leaky integrate-and-fire neurons, two minutes. A hub's spike lifts its targets by a quarter of the
# threshold after 2 ms; other connections are few and weak.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt

recording, truth = nt.simulate.hub_circuit(n_units=30, n_hubs=2, duration_s=120.0, seed=2)
counts = nt.bin_spikes(recording, width_s=0.002)
weight = truth["weight"].to_numpy()
print(
    f"{int(counts.sum())} spikes, {(weight != 0).sum()} connections, {(weight > 0.2).sum()} of them of hubs"
)

# %%
# A sentence for every bin
# ------------------------
# Each window tells one bin of 2 ms from the 16 ms before it, so that all of a spike's recent past is in its
# history. Windows are views of the counts: there are as many as bins, and they take no memory.

windows = nt.encoders.spike_windows(counts, window_s=0.002, history_s=0.016)
model = nt.encoders.create(
    "neuroformer-nano", seed=0, current_bins=1, history_layers=1, state_layers=0, width=32, current_tokens=20,
    history_tokens=60, dropout=0.0, steps=400, batch=128, rate=5e-3, check_every=100, patience=0,
    held_out=0.05,
)  # fmt: skip
fit = model.fit(windows, out=Path(tempfile.mkdtemp()) / "fit")
print(fit[["unit_loss", "held_out_unit_loss"]].to_dataframe().round(3))

# %%
# Who is attended for whom
# ------------------------
# Attention from the tokens of one neuron to those of another, for each pair that came together, less the same
# with histories from other times, in their standard deviations. High rates alone leave nothing.

told = np.flatnonzero(counts.to_numpy()[-windows.sizes["window"] :].any(1))
some = windows.isel(window=told[:: len(told) // 4000])
found = nt.encoders.attention_connectivity(model, fit, some, n_null=10)
attention = found["attention_z"].fillna(0).to_numpy()

x = (counts - counts.mean("time")).to_numpy() / counts.std("time").to_numpy()
follows = np.max([x[:-lag].T @ x[lag:] / len(x) for lag in range(1, 9)], axis=0)


def directed_area(score: np.ndarray) -> float:
    """Chance that a connection scores higher than a pair that has none."""
    off = ~np.eye(len(score), dtype=bool)
    yes, no = score[off & (weight > 0)], score[off & (weight == 0)]
    return float((yes[:, None] > no).mean())


hubs = np.flatnonzero(truth["hub"])
driven = np.select([np.isin(np.arange(len(weight)), hubs), *(weight[hubs] > 0.2)], [-1, 0, 1], default=2)
order = np.argsort(driven, kind="stable")  # hubs, targets of the first, targets of the second, others
fig, axes = plt.subplots(1, 3, figsize=(11, 3.9))
panels = {"who drives whom": weight, "attention (deviations)": attention, "which spikes follow": follows}
for ax, (title, matrix) in zip(axes, panels.items(), strict=True):
    shown = matrix[np.ix_(order, order)].copy()
    np.fill_diagonal(shown, 0)
    limit = np.abs(shown).max()
    ax.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set(xlabel="receives", ylabel="sends")
    right = "" if matrix is weight else f": {directed_area(matrix):.2f}"
    ax.set_title(title + right)
fig.tight_layout()

# %%
# The numbers are areas under the curve for excitatory connections, in their direction; chance is 0.5. The
# transformer was never told that there are connections, and the rows of the hubs stand out. But the plain
# count of which spikes follow which does at least as well, at a thousandth of the cost: in a circuit like
# this one, attention is a way to look into the network, and not the tool of choice for connections. And
# neither knows causes: neurons with a common input that nobody recorded are linked by both.

fig, ax = plt.subplots(figsize=(5.5, 3.4))
pairs = {"a hub to its targets": weight > 0.2, "its targets to a hub": weight.T > 0.2}
off = ~np.eye(len(weight), dtype=bool)
pairs["all other pairs"] = off & ~(weight > 0.2) & ~(weight.T > 0.2)
for k, which in enumerate(pairs.values()):
    values = attention[which]
    ax.scatter(values, k + np.random.default_rng(0).uniform(-0.25, 0.25, values.size), s=9, alpha=0.6)
ax.set_yticks(range(3), [*pairs])
ax.invert_yaxis()
ax.set(xlabel="attention, in deviations of shifted histories")
ax.set_title("Attention has a direction")
fig.tight_layout()

# %%
# These are *tiny demonstration weights*, trained on one simulated recording. How attention, its gradient, a
# GLM, correlograms and transfer entropy compare on larger circuits, and where there is nothing to be found,
# stands on the validation page.

assert directed_area(attention) > 0.7
