"""
How many motifs are real?
=========================

A factorisation gives as many motifs as it is asked for. Three things say how many to ask for: whether
different starts find the same ones, whether they foretell data that they have not seen, and whether units
whose clocks were shifted against one another would do as well.
"""

# %%
# The songbird
# ------------
# Seventy-five neurons of a singing zebra finch. Each rank is learned without a stretch of time; time courses
# in the stretch come from one half of the pairs of neurons and predict the other half.

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import neurotools as nt

activity = nt.load("songbird-hvc")["calcium/activity"]
affinity = nt.differential_affinity(activity, smooth_s=2 / 30)
model = nt.NTF(rank=1, n_restarts=3, tol=1e-4, seed=0)
scan = nt.rank_scan(model, affinity, [1, 2, 3, 4, 6], n_null=5)
nt.plot.plot_rank_scan(scan).set_title("How many motifs", loc="left")
print("chosen:", scan.attrs["selected_rank"], "-", scan.attrs["reason"])
print("core consistency needs three modes; with one bird and free pairs there are two:")
print(scan["core_consistency"].values)

# %%
# The grey line is the error of foretelling that nothing changes: every pair keeps its mean. What a rank gains
# over it is compared with what it gains when each neuron is shifted by its own random time.

print(f"gain {scan.attrs['gain']:.3f}; shifted: {scan['null_gain'].values.round(3)}")

# %%
# Neurons that have nothing to do with one another
# ------------------------------------------------
# The same neurons, shifted once, are such a recording: each keeps its activity, and they agree by chance.

shifted = nt.circular_shift(affinity, min_shift_s=1.0, seed=7)
nothing = nt.rank_scan(model, shifted, [1, 2, 3, 4], n_null=5)
nt.plot.plot_rank_scan(nothing)
print("chosen:", nothing.attrs["selected_rank"], "-", nothing.attrs["reason"])

# %%
# Which of them?
# --------------
# Each motif is learned from every other stretch of time and measured in the stretches between, where shifted
# neurons are measured, too. A motif that only one half of the song has does not come back. Here one motif
# more is asked for than the scan chose, and the last one does no better than shifted neurons.

rank = scan.attrs["selected_rank"] + 1
fit = nt.NTF(rank=rank, n_restarts=3, tol=1e-4, seed=0).fit(affinity)
null = nt.motif_null(nt.NTF(rank=rank, n_restarts=3, tol=1e-4), affinity, fit, n_null=39)
nt.plot.plot_motif_null(null)
print("strength over that of shifted neurons:", null["ratio"].values.round(1))
print("p, corrected:", null["p_corrected"].values)

# %%
# How sure is an edge?
# --------------------
# Stretches of time are drawn with replacement, and the motifs are learned anew. An edge of the first motif is
# worth talking about when it is larger than its spread. Most are not: 22 s of song are little.

again = nt.bootstrap_motifs(
    nt.NTF(rank=rank, n_restarts=1, tol=1e-4), affinity, fit, n_replicates=8, block_s=1.0
)
print(
    "cosine with the motif of all data, mean of replicates:",
    again["similarity"].mean("replicate").values.round(2),
)

mean, spread = (again[name].isel(component=0).to_numpy() for name in ("edge_mean", "edge_sd"))
upper = np.triu_indices(len(mean), 1)
fig, ax = plt.subplots(figsize=(5, 4), layout="constrained")
ax.scatter(mean[upper], spread[upper], s=4, color="#1f4e79", alpha=0.5, linewidths=0)
ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
ax.set(xlabel="mean of an edge over replicates", ylabel="its standard deviation", title="First motif")
print(f"edges above two spreads: {int((mean[upper] > 2 * spread[upper]).sum())} of {upper[0].size}")

# %%
# A tensor of known rank
# ----------------------
# Of a simulated tensor the answer is known: three patterns, and three are found.

rng = np.random.default_rng(0)
parts = [rng.random((3, n)) * (rng.random((3, n)) < 0.6) for n in (8, 6, 30)]
values = np.einsum("ri,rj,rk->ijk", *parts) + 0.05 * rng.normal(size=(8, 6, 30))
tensor = xr.DataArray(values, dims=("subject", "condition", "time"))
known = nt.TensorModel("cp", 1, nonnegative=tensor.dims, n_restarts=4, max_iter=200)
found = nt.rank_scan(known, tensor, [1, 2, 3, 4, 5], cv="speckled")
nt.plot.plot_rank_scan(found).set_title("How many parts", loc="left")
print("chosen:", found.attrs["selected_rank"], "core consistency:", found["core_consistency"].values.round(0))
