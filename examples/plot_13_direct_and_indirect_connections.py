"""
Which connections are direct?
=============================

Two regions that never speak to one another still rise and fall together when a third speaks to both.
Correlation sees all paths; partial correlation sees what is left when all other regions are accounted for. We
draw a chain whose connections we know, and then listen to a story with sixteen people.
"""

# %%
# A chain that is known
# ---------------------
# Five regions, each driven by the one before it. Neighbours are connected, others are not.

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt
from neurotools import schema

rng = np.random.default_rng(0)
x = rng.normal(size=(5, 800))
for region in range(1, 5):
    x[region] += 1.5 * x[region - 1]
names = ["first", "second", "third", "fourth", "fifth"]
chain = schema.continuous(x, dim="region", labels=names, sfreq=1.0, units="1")

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
together = nt.connectivity(chain)
direct = nt.connectivity(chain, kind="partial")
nt.plot.plot_connectivity(together, ax=axes[0], order="given")
nt.plot.plot_connectivity(direct, ax=axes[1], order="given")

ends = {"region": "first", "region_to": "third"}
print(f"first and third: correlation {float(together.sel(ends)):.2f}, partial {float(direct.sel(ends)):.2f}")
assert float(together.sel(ends)) > 0.6
assert abs(float(direct.sel(ends))) < 0.1

# %%
# A story
# -------
# Six language regions of sixteen people. All correlations are high. Given the others, few pairs stay, the
# two poles of the temporal lobes above all.

story = nt.load("alice-story")
cleaned = nt.clean(story["fmri/bold"], low=0.01)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
correlation = nt.connectivity(cleaned)
partial = nt.connectivity(cleaned, kind="partial")
nt.plot.plot_connectivity(correlation, ax=axes[0])
nt.plot.plot_connectivity(partial, ax=axes[1])

off = ~np.eye(6, dtype=bool)
mean = {name: float(m.mean("subject").to_numpy()[off].mean()) for name, m in
        (("correlation", correlation), ("partial", partial))}  # fmt: skip
print({name: round(value, 2) for name, value in mean.items()})
assert mean["partial"] < mean["correlation"]

# %%
# Does it hold in every listener?
# -------------------------------
# The pair that is strongest on average, in each of the sixteen.

strongest = partial.mean("subject").where(off).stack(pair=("region", "region_to")).idxmax()
pair = dict(zip(("region", "region_to"), strongest.item(), strict=True))
values = partial.sel(pair).to_numpy()
print(f"{pair['region']} and {pair['region_to']}: {(values > 0).sum()} of 16 listeners above zero")
assert (values > 0).sum() >= 14

figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.bar(partial["subject"], values, color=nt.plot.style.colour(0))
ax.axhline(0, color="black", linewidth=0.8)
ax.set_ylabel("partial correlation")
ax.set_xlabel("listener")
ax.set_title(f"{pair['region']} and {pair['region_to']}, given the four other regions")

# %%
# What can go wrong
# -----------------
# Partial correlation accounts for the regions that were measured. A region outside the six that drives two of
# them still makes a connection between these two. And head motion moves all regions: remove confounds first
# (``nt.confounds``), which these averages, made by their authors, do not carry.
