"""
Tutorial: which neurons follow the same course
==============================================

**Goal.** Weigh every way to put neurons into groups, first all of them by hand, then by drawing; and tell
when draws must not be believed. **Time.** 30 minutes. **You need** to know Bayes' rule and what a variance
is.

Four neurons. Some of them follow one hidden course, others another. You see each neuron's activity, with
noise, and neither the courses nor who follows which.
"""

# %%
# Every way to group four neurons
# -------------------------------
# A *partition* puts every neuron into one group. Four neurons have fifteen. We write a partition as one label
# per neuron, each new group taking the next number.

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt


def partitions(n):
    """All partitions of n things, as labels."""
    if n == 0:
        return [()]
    return [(*rest, k) for rest in partitions(n - 1) for k in range(max(rest, default=-1) + 2)]


print("partitions of 1 to 8 neurons:", [len(partitions(n)) for n in range(1, 9)])
assert len(partitions(4)) == 15
assert len(partitions(8)) == 4140

# %%
# How well does a partition explain the data?
# -------------------------------------------
# Let neuron :math:`i` in group :math:`g` be :math:`y_{it} = x^{(g)}_t + \text{noise}`, with a course
# :math:`x_t \sim N(0, 1)` and noise of variance :math:`s^2`. Nobody knows the course, so we average over all
# of them. That leaves, for the :math:`n` neurons of a group at a time, a normal distribution whose variances
# are :math:`1 + s^2` and whose covariances are 1:
#
# .. math:: \log p(y_t) = -\tfrac{1}{2}\left[ n \log 2\pi s^2 + \log\left(1 + \tfrac{n}{s^2}\right)
#           + \tfrac{1}{s^2}\left(\sum_i y_{it}^2 - \tfrac{(\sum_i y_{it})^2}{s^2 + n}\right) \right].

rng = np.random.default_rng(4)
n_time, variance = 12, 1.0
course = rng.normal(size=(2, n_time))
truth = np.array([0, 0, 1, 1])
y = course[truth] + np.sqrt(variance) * rng.normal(size=(4, n_time))


def log_evidence(group):
    """Of the neurons of one group, their course averaged out."""
    n = len(group)
    left = (group**2).sum(0) - group.sum(0) ** 2 / (variance + n)
    return -0.5 * np.sum(n * np.log(2 * np.pi * variance) + np.log1p(n / variance) + left / variance)


def weighed(y):
    """Every partition and its posterior probability; all are alike before the data."""
    labels = np.array(partitions(len(y)))
    log_p = np.array([sum(log_evidence(y[row == k]) for k in set(row)) for row in labels])
    p = np.exp(log_p - log_p.max())
    return labels, p / p.sum()


labels, probability = weighed(y)
order = np.argsort(probability)[::-1]
for k in order[:4]:
    print(labels[k], f"{probability[k]:.2f}")

figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained", width_ratios=(2, 1))
axes[0].bar(range(15), probability[order], color=nt.plot.style.colour(0))
axes[0].set_xticks(range(15), ["".join("ABCD"[j] for j in labels[k]) for k in order], rotation=90)
axes[0].set_ylabel("posterior probability")
axes[0].set_xlabel("group of each neuron")
axes[0].set_title("Fifteen partitions")
together = (probability[:, None, None] * (labels[:, :, None] == labels[:, None, :])).sum(0)
image = axes[1].imshow(together, vmin=0, vmax=1, cmap="viridis")
figure.colorbar(image, label="P(same group)")
axes[1].set_xticks(range(4), range(1, 5))
axes[1].set_yticks(range(4), range(1, 5))
axes[1].set_xlabel("neuron")
axes[1].set_ylabel("neuron")
axes[1].set_title("Pairs")

# %%
# The answer is not one partition but a weight for each. A sum over partitions that does not care how groups
# are called, such as *how likely are neurons 1 and 2 together*, is what can be reported.

assert together[0, 1] > together[0, 2]
assert np.allclose(np.diag(together), 1)

# %%
# **Exercise 1.** We gave a group of four the same chance beforehand as four groups of one, and a large group
# explains its neurons with *one* course. Why does the largest group not always win?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# Averaging over courses charges for misfit: neurons that differ cannot all be near one course, and the term
# :math:`\sum y^2 - (\sum y)^2/(s^2+n)` grows. Neurons that agree save the cost of a second course. The
# evidence balances both without a penalty that somebody chose.
#
# .. raw:: html
#
#    </details>
#
# Fifteen, then too many
# ----------------------
# Eight neurons have 4,140 partitions, sixteen have ten thousand million. Nobody visits them all. A *sampler*
# walks among them: take one neuron out, weigh each group it could join (or a new one) given where all others
# are, put it into one of them by that weight, and go on to the next (Gibbs sampling). Where it spends its
# time is the posterior. On four neurons we can see that this is so.

row = [1]  # of Bell's triangle: each row begins with the last number of the one before
for _ in range(15):
    row = list(np.cumsum([row[-1], *row]))
assert row[-1] == 10_480_142_147  # partitions of sixteen


def gibbs(y, sweeps, rng):
    """Partitions visited, one after each round through all neurons."""
    label, visited = np.zeros(len(y), dtype=int), []
    for _ in range(sweeps):
        for i in range(len(y)):
            others = np.delete(np.arange(len(y)), i)
            groups = [others[label[others] == k] for k in np.unique(label[others])]
            joins = [log_evidence(y[[*g, i]]) - log_evidence(y[g]) for g in groups]
            weights = np.array([*joins, log_evidence(y[[i]])])
            weights = np.exp(weights - weights.max())
            choice = rng.choice(weights.size, p=weights / weights.sum())
            for k, group in enumerate(groups):
                label[group] = k
            label[i] = choice
        visited.append(label.copy())
    return np.array(visited)


visited = gibbs(y, 2000, rng)
share = (visited[:, :, None] == visited[:, None, :]).mean(0)
print("largest difference from the exact answer:", np.abs(share - together).max().round(3))
assert np.abs(share - together).max() < 0.05

# %%
# Spikes, courses that move by rules, and rules that change
# ---------------------------------------------------------
# ``nt.BiCluster`` does the same for spike counts. The course of a group is now a path with dynamics of its
# own, and the dynamics switch between states: neurons into groups, time into states, both at once. A
# simulation tells us whether it works, since there we know the truth.

recording, planted = nt.simulate.biclusters(
    n_units=12, n_time=160, n_clusters=2, latent_dim=1, rate=8.0, visit=40.0, seed=3
)
counts = recording["counts/counts"]
model = nt.BiCluster(latent_dim=1, state_prior=nt.StickyHDP(max_states=4), seed=0)
post = model.sample(counts, draws=100, tune=150, chains=2)
partition = nt.point_partition(post, loss="vi")
nt.plot.plot_unit_similarity(partition)

same = planted["unit_label"].to_numpy()[:, None] == planted["unit_label"].to_numpy()
pairs = partition["unit_similarity"].to_numpy()
print(f"P(together): same planted group {pairs[same].mean():.2f}, different {pairs[~same].mean():.2f}")
assert pairs[same].mean() > 0.7
assert pairs[~same].mean() < 0.2

# %%
# **Exercise 2.** Two neurons fire at 2 and at 30 spikes per second and yet share a group. Two others fire at
# the same rate and do not. How can that be?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# A group shares a course of *changes*: each neuron has an offset of its own, which sets its mean rate. What
# counts is whether they go up and down together.
#
# .. raw:: html
#
#    </details>
#
# What can go wrong: a chain that has not arrived
# -----------------------------------------------
# A sampler starts somewhere, and takes a while to forget where. Eight draws right from the start, in two
# chains:

hasty = model.sample(counts, draws=8, tune=0, chains=2)
early = nt.convergence(hasty)
print(f"largest R-hat {early.attrs['worst_rhat']:.2f}: {early.attrs['worst']}")
assert not early.attrs["converged"]
try:
    nt.require_converged(hasty)
except nt.errors.NotConvergedError as error:
    print(error)
else:
    raise AssertionError("eight draws must not pass")

# %%
# *R-hat* compares how far chains are apart with how far each of them moves; near 1 they cannot be told apart.
# It looks only at what has no names: the log posterior, how many groups, how many states, the rates. And the
# chains above, with 150 sweeps thrown away and 100 kept?

convergence = nt.convergence(post)
nt.plot.plot_convergence(convergence)
print("converged:", bool(convergence.attrs["converged"]), f"(R-hat {convergence.attrs['worst_rhat']:.2f})")
assert not convergence.attrs["converged"]

# %%
# Not yet, either: what was right about the groups above we know from the simulation alone. With a recording
# nobody tells you. Take thousands of draws in four chains, and report nothing before this picture is quiet.
#
# **Exercise 3.** Both chains see the same data. Why does it matter that they start in different places?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# Chains that start together may sit in the same wrong place, and agree. Only when they come from different
# places and end in the same one does agreement mean something.
#
# .. raw:: html
#
#    </details>
#
# The same in one line
# --------------------
#
#     neurotools run bicluster m1-reaching results/ --set bin_width_s=0.2 --set draws=2000 --set chains=4
#
# **Read on.** Neal (2000), J. Comput. Graph. Stat. 9, 249-265, for the walk among partitions; Wei (2024),
# ICLR, for the model; :doc:`what a state and a cluster are, and are not </bicluster>`.
