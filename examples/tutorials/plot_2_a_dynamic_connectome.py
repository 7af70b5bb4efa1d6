"""
Tutorial: who moves together, and when
======================================

**Goal.** Build a dynamic connectome by hand for six neurons, then let the toolkit do it for forty, and learn
when to disbelieve it. **Time.** 30 minutes. **You need** to know what a matrix product is.
"""

# %%
# Two traces
# ----------
# A correlation says whether two neurons go together over a whole recording. We ask *when* they do. Take the
# slope :math:`g_i(t)` of each trace. Two neurons move together at :math:`t` when both rise or both fall:
#
# .. math:: a_{ij}(t) = \sqrt{|g_i(t)|\,|g_j(t)|} \ \text{ if } g_i(t)\, g_j(t) > 0, \text{ else } 0.

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt
from neurotools import schema

time = np.arange(0, 20, 0.05)
rng = np.random.default_rng(0)


def bump(centre):
    return np.exp(-((time - centre) ** 2) / 2)


early, late = bump(5) + bump(12), bump(8) + bump(15)
traces = np.stack([early, early, early, late, late, late]) + 0.01 * rng.normal(size=(6, time.size))
small = schema.continuous(traces, dim="unit", labels=list("ABCDEF"), sfreq=20.0, units="1")
affinity = nt.differential_affinity(small, smooth_s=0.15)
dense = nt.dense_affinity(affinity).sel(unit="A")
assert dense.sel(unit_to="D").sel(time=6.5, method="nearest") < 0.05 * dense.sel(unit_to="B").max()

figure, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for name, label in (("A", 0), ("B", 1), ("D", 2)):
    axes[0].plot(time, small.sel(unit=name), color=nt.plot.style.colour(label), label=name)
axes[0].set_ylabel("activity")
axes[0].legend(loc="upper right")
axes[0].set_title("Three of six neurons, and the affinity of two pairs")
axes[1].plot(time, dense.sel(unit_to="B"), color=nt.plot.style.colour(1), label="A with B")
axes[1].plot(time, dense.sel(unit_to="D"), color=nt.plot.style.colour(2), label="A with D")
axes[1].set_ylabel("affinity")
axes[1].set_xlabel("time (s)")
axes[1].legend(loc="upper right")

# %%
# **Exercise 1.** A and D overlap around 6.5 s, yet their affinity is near zero there. Why?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# A falls while D rises. Their slopes have opposite signs, and opposite motion is no affinity. (There is a
# kernel for those who want it: ``kernel="anti"``.)
#
# .. raw:: html
#
#    </details>
#
# Many pairs at many times
# ------------------------
# Six neurons have 15 pairs; with 400 moments that is a table of 15 by 400. If a few groups of pairs come and
# go together, the table is a sum of a few products: a *motif* :math:`m_r` (which pairs) times its *time
# course* :math:`h_r` (when), all non-negative:
#
# .. math:: a_{ij}(t) \approx \sum_r m_r(i,j)\, h_r(t), \qquad m_r, h_r \ge 0 .

n = small.sizes["unit"]
assert (n * (n - 1) // 2, time.size) == (15, 400)
fit = nt.NTF(rank=2, n_restarts=3, seed=0).fit(affinity)
print(f"relative error {fit.attrs['relative_error']:.2f}")
nt.plot.plot_time_loadings(fit).set_title("When each motif is there", loc="left")

# %%
# Each motif is a matrix. The groups A, B, C and D, E, F are there, though nobody told the model that there
# are groups.

nt.plot.plot_motifs(fit)
motif = nt.motif(fit)
strongest = motif.max(["unit", "unit_to"])
assert (motif.sel(unit="A", unit_to="D") < 0.5 * strongest).all()

# %%
# **Exercise 2.** Why must :math:`m` and :math:`h` be non-negative? What would a principal component do?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# Affinities are never negative, and parts should add up. Principal components may cancel one another, so that
# none of them is a group of pairs: one would be "both groups", the next "one minus the other".
#
# .. raw:: html
#
#    </details>
#
# Communities
# -----------
# With forty neurons nobody reads a motif pair by pair. A stochastic block model asks: which partition of the
# neurons makes the motif shortest to describe, when the strength of a pair depends only on the groups of the
# two? It may also answer "one group": then there is nothing to see.

recording, truth = nt.simulate.dynamic_communities(n_units=40, n_motifs=2, n_subjects=1, seed=3)
traces = nt.signal(recording)
traces = traces.isel(subject=0, drop=True) if "subject" in traces.dims else traces
affinity = nt.differential_affinity(traces, smooth_s=0.3)
fit = nt.NTF(rank=2, n_restarts=5, seed=0).fit(affinity)
communities = nt.BlockModel(seed=0).fit(nt.motif(fit))
connectome = nt.dynamic_connectome(fit, communities)
print("communities of each motif:", communities["n_blocks"].values.ravel())
nt.plot.plot_motifs(fit, communities)

# %%
# What can go wrong: structure in noise
# -------------------------------------
# Any method that looks for motifs finds some. Shift each neuron by a random time of its own: every neuron
# keeps its trace, and nothing is together any more. If the shifted recording is described as well as the real
# one, the motifs mean nothing.

shifted = traces.copy(
    data=np.stack([np.roll(row, rng.integers(100, row.size - 100)) for row in traces.values])
)
null = nt.NTF(rank=2, n_restarts=5, seed=0).fit(nt.differential_affinity(shifted, smooth_s=0.3))
print(f"relative error: real {fit.attrs['relative_error']:.3f}, shifted {null.attrs['relative_error']:.3f}")
assert fit.attrs["relative_error"] < null.attrs["relative_error"] - 0.02

# %%
# **Exercise 3.** Why shift in a circle, and not shuffle the samples?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# Shuffling makes noise of each trace, and noise has other slopes than calcium. The comparison would be with
# something that could not have been recorded. A shift keeps everything about each neuron, and breaks only
# what is between them.
#
# .. raw:: html
#
#    </details>
#
# The same in one line
# --------------------
#
#     neurotools run dynamic-connectome recording.nc results/ --set rank=2 --set smooth_s=0.3
#
# **Read on.** Dyballa et al. (2024), ICLR, for the idea; :doc:`what each setting means, and what is not known
# </dynamic-connectome>`.
