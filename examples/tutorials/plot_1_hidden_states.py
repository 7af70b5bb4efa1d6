"""
Tutorial: states that nobody sees
=================================

**Goal.** Say from what an animal does which of two moods it is in, how sure you are, and when you cannot
know. **Time.** 30 minutes. **You need** to know what a probability is, and Bayes' rule.

An animal presses a left or a right lever. In one mood it presses left nine times in ten; in the other, right
nine times in ten. It stays in a mood for a while. You see presses, never moods.
"""

# %%
# A chain of moods
# ----------------
# The mood :math:`z_t` at trial :math:`t` depends on the one before, and the press :math:`y_t` on the mood:
#
# .. math:: P(z_t = j \mid z_{t-1} = i) = A_{ij}, \qquad P(y_t = 1 \mid z_t = k) = p_k .
#
# This is a hidden Markov model. Ten trials, so that we can do everything by hand.

import itertools

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt

A = np.array([[0.9, 0.1], [0.1, 0.9]])
p = np.array([0.1, 0.9])  # of pressing right, in mood 0 and mood 1
y = np.array([0, 0, 0, 1, 0, 0, 1, 1, 0, 1])

# %%
# Count every story
# -----------------
# A story is one mood for each trial. There are :math:`2^{10}` of them. Each has a probability: that of its
# moves times that of what was pressed. Bayes' rule says how often each is true, given the presses.

stories = np.array(list(itertools.product([0, 1], repeat=y.size)))
moves = 0.5 * np.prod(A[stories[:, :-1], stories[:, 1:]], axis=1)
presses = np.prod(np.where(y == 1, p[stories], 1 - p[stories]), axis=1)
weight = moves * presses
by_hand = (weight[:, None] * stories).sum(axis=0) / weight.sum()
print("P(mood 1) at each trial:", by_hand.round(2))
assert len(stories) == 2**10
assert by_hand[3] < 0.5

# %%
# The press at the fourth trial was *right*, and yet mood 0 is more likely there: its neighbours say so. That
# is what a chain adds to a coin.
#
# **Exercise 1.** How many stories are there for 300 trials? Could you count them?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# :math:`2^{300} \approx 10^{90}`, more than there are atoms in the universe. But a story's weight is a
# product along the chain, so the sum can be taken trial by trial: from the left (*forward*) and from the
# right (*backward*). This costs a handful of products per trial instead (Rabiner 1989).
#
# .. raw:: html
#
#    </details>

from neurotools.numerics import hmm

assert 1e90 < 2**300 < 1e91

log_prob = np.log(np.where(y[:, None] == 1, p, 1 - p))
found = hmm.smooth(np.log([0.5, 0.5]), np.log(A), log_prob)
print("forward-backward:       ", found.state_prob[:, 1].round(2))
assert np.allclose(found.state_prob[:, 1], by_hand)
assert np.isclose(found.log_evidence, np.log(weight.sum()))

# %%
# What you knew then
# ------------------
# The probabilities above look ahead: trial 4 is judged with trials 5 to 10 in hand. While the animal is still
# pressing, only the past is there. *Filtered* probabilities use the past alone, *smoothed* ones everything.

short = {"figsize": (7, 2.6), "layout": "constrained"}
filtered = np.array(
    [hmm.smooth(np.log([0.5, 0.5]), np.log(A), log_prob[: t + 1]).state_prob[-1, 1] for t in range(y.size)]
)
figure, ax = plt.subplots(**short)
trial = np.arange(1, y.size + 1)
ax.plot(trial, found.state_prob[:, 1], "o-", color=nt.plot.style.colour(0), label="smoothed: past and future")
ax.plot(trial, filtered, "s--", color=nt.plot.style.colour(1), label="filtered: past alone")
ax.plot(trial, y, "|", color="black", markersize=14, label="pressed right (1) or left (0)")
ax.set_xlabel("trial")
ax.set_ylabel("P(mood 1)")
ax.set_title("Smoothed and filtered probability of a mood")
ax.legend(loc="center right")

# %%
# **Exercise 2.** A paper reports that the mood changed *before* the animal's pupil did, using smoothed
# probabilities. What is wrong?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# A smoothed probability uses presses that came later, so it rises before the first sign of a change. It
# cannot tell what came first. Filtered ones can.
#
# .. raw:: html
#
#    </details>
#
# Learning the numbers
# --------------------
# So far :math:`A` and :math:`p` were given. They can be learned: guess them, compute the moods, count moves
# and presses weighted by the moods, and repeat (expectation-maximisation). What is maximised never falls. In
# neurotools the chance of a press is a regression, so a mood is a set of weights: a strategy. Here is an
# animal with three strategies.

recording, truth = nt.simulate.switching_choices(n_sessions=8, n_trials=250, seed=1)
choice = recording["behaviour/choice"]
design = nt.choice_design(recording, n_back=1)
ridge = nt.RidgePrior(strength=1.0)
model = nt.SwitchingGLM(n_states=3, family="bernoulli", prior=ridge, n_restarts=3)
fit = model.fit(choice, design)
rises = np.diff(fit["objective"])
assert rises.min() > -1e-6
print(f"{fit.attrs['n_iter']} iterations, least gain {rises.min():.1e}")
nt.plot.plot_state_weights(fit)

# %%
# What can go wrong: states that are not there
# --------------------------------------------
# A model with more states always fits the same data better. Only data that it has not seen can tell. Here is
# an animal with *one* strategy.

single, _ = nt.simulate.switching_choices(n_sessions=8, n_trials=250, n_strategies=1, seed=2)
single_choice, single_design = single["behaviour/choice"], nt.choice_design(single, n_back=1)
inside = {
    k: float(
        nt.SwitchingGLM(n_states=k, family="bernoulli", prior=ridge, n_restarts=2)
        .fit(single_choice, single_design)
        .attrs["log_likelihood"]
    )
    for k in (1, 3)
}
print(f"log likelihood of the data it was fitted to: one state {inside[1]:.1f}, three {inside[3]:.1f}")
assert inside[3] > inside[1]

scan = nt.select_states(
    nt.SwitchingGLM(n_states=1, family="bernoulli", n_restarts=2),
    single_choice,
    single_design,
    n_states=(1, 2, 3),
)
nt.plot.plot_state_scan(scan)
print("states chosen by held-out sessions:", scan.attrs["selected_n_states"])
assert scan.attrs["selected_n_states"] == 1

# %%
# **Exercise 3.** Why hold out whole sessions, and not every tenth trial?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# Neighbours of a held-out trial give its mood away, so any chain looks good. A session that was never seen
# gives nothing away.
#
# .. raw:: html
#
#    </details>
#
# The same in one line
# --------------------
#
#     neurotools run choice-states mouse/ results/ --set compare=[1,2,3]
#
# **Read on.** Rabiner (1989), Proceedings of the IEEE 77, 257-286, for the recursions; Ashwood et al. (2022),
# Nature Neuroscience 25, 201-212, for mice; :doc:`the model and its equations </switching-glm>`.
