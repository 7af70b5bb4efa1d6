"""
Which neurons share a latent, and when do the rules change?
===========================================================

Sixteen neurons, two groups. The neurons of a group follow one hidden course, each in its own way; and the
courses obey two rules that take turns: for a while they turn round and grow, then they are quiet. Nobody
tells the model how many groups or rules there are, who belongs where, or when a rule holds.
"""

# %%
# Counts whose truth is known
# ---------------------------

import numpy as np

import neurotools as nt

recording, truth = nt.simulate.biclusters(
    n_units=16, n_time=200, n_clusters=2, latent_dim=1, rate=8.0, visit=40.0, seed=4
)
counts = recording["counts/counts"]
print(f"{counts.sizes['unit']} neurons, {counts.sizes['time']} bins, {float(counts.mean()):.1f} spikes a bin")

# %%
# Draws of the posterior
# ----------------------
# Two short chains, so that this page is made in half a minute. A real analysis takes four chains of some
# thousand draws: ``neurotools run bicluster``.

model = nt.BiCluster(latent_dim=1, state_prior=nt.StickyHDP(max_states=5), seed=0)
post = model.sample(counts, draws=150, tune=150, chains=2)

# %%
# Do the chains agree? Not on everything after so few draws, and the picture says on what. R-hat looks only at
# what does not depend on how clusters and states happen to be numbered.

convergence = nt.convergence(post)
nt.plot.plot_convergence(convergence)

# %%
# Who belongs together?
# ---------------------
# The partition of neurons that lies nearest to all draws, and the probability of every pair.

partition = nt.point_partition(post, loss="vi")
nt.plot.plot_unit_similarity(partition)
label, planted = (array["unit_label"].to_numpy() for array in (partition, truth))
same = planted[:, None] == planted
pairs = partition["unit_similarity"].to_numpy()
print(f"same group: {pairs[same].mean():.2f}, different groups: {pairs[~same].mean():.2f}")
assert pairs[~same].max() < 0.1
assert pairs[same].mean() > 0.6

# %%
# Neurons of different groups are never put together. A short chain may still hold one group as two, since to
# join them means to give up two courses for one, all at once; the other chain and R-hat show it.

# %%
# When do the rules change?
# -------------------------
# The curve on top is the truth. Below it stands the share of the draws in each state, and at the foot the
# estimate.

true_state = truth["state_label"].rename("true state").assign_attrs(units="1")
ax = nt.plot.plot_state_sequence(partition, stimulus=true_state)
ax.figure.suptitle("When each state holds, under the truth", x=0.02, ha="left")

# %%
# This is the hard part, and the picture should not look better than it is. While a course rests at zero, or
# grows slowly away from it, both rules say nearly the same; only where the turning rule ends, and the courses
# drop to zero within a bin, do they differ for everyone to see. A state is a rule of motion: it is seen where
# something moves. Of other recordings as short as this, such as that of ``seed=2``, the estimate may tell no
# rules apart. More spikes, more bins and longer chains tell more.

nt.plot.plot_state_similarity(nt.state_similarity(post))

# %%
# What do they share?
# -------------------
# Courses with bands that hold 90 % of the posterior.

latents = nt.cluster_latents(post, partition)
ax = nt.plot.plot_cluster_latents(latents, partition, stimulus=true_state)
ax.figure.suptitle("Courses of the groups, under the true state", x=0.02, ha="left")

# %%
# What all neurons of the largest group share is the planted course, up to a constant.

own = truth["latent"].sel(cluster=int(planted[label == 0][0]), component=0)
r = np.corrcoef(latents["latent"].sel(cluster=0, component=0), own)[0, 1]
print(f"r = {r:.2f}")
assert r > 0.8

# %%
# Are counts foretold as they fall?
# ---------------------------------

check = nt.posterior_check(post)
nt.plot.plot_calibration(check)
print(check["coverage"].to_pandas().round(3))
