"""
Are planted communities found again?
====================================

Before a method says anything about a brain, it should find what is known to be there. We simulate a circuit
whose communities change from motif to motif, hide them in noisy calcium traces of four animals that lack
some of the units, and compare what comes out with what was put in.
"""

# %%
# What is planted
# ---------------
# One of three motifs is active at a time. Each drives one community of units, drives a second the opposite
# way, and leaves the rest alone; the communities differ between motifs. One unit in five is missing in each
# animal, as when identified neurons are not all seen.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import normalized_mutual_info_score

import neurotools as nt

recording, truth = nt.simulate.dynamic_communities(n_subjects=4, missing=0.2, seed=0)
activity = recording["calcium/activity"]
seen = truth["observed"].mean("unit")
print("share of units seen in each animal:", seen.round(2).values)

one = activity.sel(subject="s0").dropna("unit", how="all").isel(unit=slice(0, 20))
nt.plot.plot_traces(one.sel(time=slice(0, 40))).set_title("Twenty units of one animal")

# %%
# What is found
# -------------
# Three motifs are asked for; everything else is left at its default. Missing units are left out by a mask,
# nothing is filled in.

affinity = nt.differential_affinity(activity, smooth_s=0.2)
fit = nt.NTF(rank=3, n_restarts=3, seed=0).fit(affinity)
communities = nt.BlockModel(seed=0).fit(fit["motif"])

# %%
# Which motif is which? Components are numbered by weight, so each is paired with the planted motif in whose
# intervals most of its time course lies.

loading = fit["time_loading"]
share = (loading / loading.sum("time")).values @ truth["active"].values.T
planted = share.argmax(axis=1)
print("share of each time course inside its planted intervals:", share.max(axis=1).round(2))
assert sorted(planted) == [0, 1, 2]
assert share.max(axis=1).min() > 0.6

fig, axes = plt.subplots(3, 1, figsize=(8, 4.5), sharex=True, layout="constrained")
for ax, k in zip(axes, planted, strict=True):
    component = int(np.flatnonzero(planted == k)[0])
    ax.fill_between(
        truth["time"], 0, 1, where=truth["active"][k], color="#f0e0b0", step="mid", label="planted"
    )
    row = loading.sel(component=component)
    ax.plot(row["time"], row / row.max(), color="#1f4e79", lw=0.8, label="found")
    ax.set(ylabel=f"motif {component}", ylim=(0, 1.05), yticks=[0, 1])
    ax.margins(x=0)
axes[0].legend(ncols=2, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
axes[0].set_title("Time courses lie where they were planted", loc="left")
axes[-1].set_xlabel("time (s)")
plt.show()

# %%
# Are the communities the same?
# -----------------------------
# Normalised mutual information is 1 when two groupings say the same, and near 0 when they have nothing to
# do with one another. The number of communities was not given.

agreement = np.array(
    [
        [
            normalized_mutual_info_score(truth["label"][k], communities["label"].sel(component=c))
            for k in range(3)
        ]
        for c in range(3)
    ]
)
for component, k in enumerate(planted):
    found = int(communities["n_blocks"].sel(component=component))
    print(f"motif {component}: {found} communities, NMI {agreement[component, k]:.2f} with what was planted")
assert np.mean([agreement[c, k] for c, k in enumerate(planted)]) > 0.9
assert max(agreement[c, k] for c in range(3) for k in range(3) if k != planted[c]) < 0.35

nt.plot.plot_motifs(fit, communities)

# %%
# Whose motif is it?
# ------------------
# Each animal has its own strength of every motif, drawn between 0.4 and 1.

print(truth["subject_loading"].isel(component=planted).to_pandas().round(2).to_string(index=False))
nt.plot.plot_subject_loadings(fit)

# %%
# What can go wrong
# -----------------
# Ask for too few motifs, and two planted ones share a component; their communities are then those of
# neither.

few = nt.NTF(rank=2, n_restarts=3, seed=0).fit(affinity)
mixed = (few["time_loading"] / few["time_loading"].sum("time")).values @ truth["active"].values.T
print(mixed.round(2))
assert np.sort(mixed, axis=1)[:, -2].max() > 0.25
