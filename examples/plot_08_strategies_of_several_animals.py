"""
Strategies of several animals at once
=====================================

Each animal has habits of its own, and too few trials to learn them well. A hierarchical model lets animals
share what they have in common: the weights of each are drawn around weights of all, and how far they stray
is learned. We sample its posterior with the No-U-Turn Sampler of PyMC; the hidden states are summed out
exactly, by the forward-backward recursion of neurotools, which hands its gradient to the sampler.

The choices are simulated (``nt.simulate.switching_choices``). PyMC comes with the extra ``[bayes]``.
"""

# %%
# Animals with few trials
# -----------------------
# Four animals, one session of 150 trials each, two strategies.

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt
from neurotools.adapters.arviz import intervals, posterior_table
from neurotools.adapters.pymc import hierarchical_choices, sample_checked

recording, truth = nt.simulate.switching_choices(
    n_subjects=4, n_sessions=1, n_trials=150, n_strategies=2, seed=2
)
choice = recording["behaviour/choice"]
design = nt.choice_design(recording, n_back=0)

# %%
# The model, and draws that are checked
# -------------------------------------
# Two states: one that follows the stimulus and one that does not, numbered by the common weight of the
# stimulus, so that every chain means the same by "state 0". The sampler has to be named, because PyMC's own
# default depends on what else is installed. Draws whose chains disagree, that are worth too few independent
# ones, or that diverged, are refused with an error: nobody should have to remember to look.

model = hierarchical_choices(choice, design, n_states=2, ordered_by="stimulus")
post = sample_checked(
    model,
    sampler="pymc",
    draws=400,
    tune=500,
    chains=2,
    seed=0,
    target_accept=0.96,
    max_rhat=1.03,
    min_ess=100,
)
print({name: post.attrs[name] for name in ("sampler", "worst_rhat", "least_ess", "n_divergent")})

# %%
# Intervals that say what they are
# --------------------------------
# The default interval of ArviZ changed between versions; here kind and probability are always said.

table = posterior_table(post, prob=0.9, kind="eti")
print(table.filter(like="centre", axis=0).round(2).to_string())

# %%
# Animals near the common weight, by as much as their own trials leave open.

bounds = intervals(post, prob=0.9, kind="eti")
mean = post["posterior/weight"].mean(("chain", "draw"))
known = truth["weight"].sel(regressor="stimulus")
fig, ax = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
for k in range(2):
    tint = nt.plot.style.colour(k)
    own = mean.sel(state=k, regressor="stimulus").values
    low, high = bounds["weight"].sel(state=k, regressor="stimulus").transpose("bound", ...).values
    place = np.arange(own.size) + 0.12 * (k - 0.5)
    ax.errorbar(place, own, [own - low, high - own], fmt="o", color=tint, label=f"state {k}")
    low, high = bounds["centre"].sel(state=k, regressor="stimulus").values
    ax.axhspan(low, high, color=tint, alpha=0.12, lw=0)
ax.plot(np.arange(own.size), known.sel(state=0), "k_", markersize=18, label="put in, engaged")
ax.set_xticks(np.arange(own.size), mean["subject"].values)
ax.set_ylabel("weight of the stimulus\n(log odds per unit)")
ax.set_title("Each animal and all of them")
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), title="bars: 90 %\nbands: all animals")
plt.show()
assert float(bounds["centre"].sel(state=0, regressor="stimulus", bound="low")) > 2

# %%
# In ArviZ
# --------
# ``nt.to_arviz`` gives what the installed ArviZ works with, an InferenceData or a DataTree.

print(type(nt.to_arviz(post)).__name__)
