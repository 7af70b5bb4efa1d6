"""
Hidden strategies of a mouse
============================

A mouse that errs on an easy stimulus may have lapsed, as models of decisions have long had it; or it may be
following another strategy for a while. Mice, it turned out, do the second (Ashwood et al. 2022): for tens of
trials they ignore the stimulus and prefer one side, then attend again. We ask how many strategies there are,
what guides each, and when each holds.

The choices below are **simulated** with strategies like the published ones, by
``nt.simulate.switching_choices``: they are nobody's data, and what is found can be held against what was put
in. Choices of your own load with ``nt.load`` and go through the same lines.
"""

# %%
# What one curve hides
# --------------------
# Twelve sessions of three hundred trials. With one state for all trials, the psychometric curve never
# reaches 0 or 1: as if one choice in ten were a guess.

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt

recording, truth = nt.simulate.switching_choices(n_sessions=12, n_trials=300, seed=0)
choice = recording["behaviour/choice"]
design = nt.choice_design(recording, n_back=1)
print(dict(choice.sizes), list(design["feature"].values))

model = nt.SwitchingGLM(n_states=1, family="bernoulli", n_restarts=1)
one = model.fit(choice, design)
nt.plot.plot_psychometric(nt.psychometric(one, choice, design))

# %%
# How many strategies?
# --------------------
# Each number of states foretells sessions that it was not fitted to, trial by trial, from the past of the
# session alone. Gains are paired by fold. Three strategies were put in; the smallest number within one
# standard error of the best is chosen.

scan = nt.select_states(model, choice, design, n_states=(1, 2, 3, 4))
nt.plot.plot_state_scan(scan)
chosen = scan.attrs["selected_n_states"]
gain = scan["heldout_score"].sel(n_states=chosen) - scan["heldout_score"].sel(n_states=1)
print(f"{chosen} states; {float(gain.mean()):.3f} bits per trial over one, least {float(gain.min()):.3f}")
assert chosen == 3
assert gain.min() > 0

# %%
# What guides each
# ----------------
# In one state the stimulus decides. In the two others the bias does, to either side, and the choice before
# weighs in.

model = nt.SwitchingGLM(n_states=3, family="bernoulli", n_restarts=4)
fit = model.fit(choice, design)
nt.plot.plot_state_weights(fit)

# %%
# The same as psychometric curves. Dots are shares of choices, every trial counted by the probability of its
# state; lines are what the weights say.

nt.plot.plot_psychometric(nt.psychometric(fit, choice, design))

# %%
# When each holds
# ---------------
# Probabilities given whole sessions. States last for tens of trials and begin anew in each session.

states = model.predict(fit, choice, design)
few = states.sel(trial=slice(0, 899))
nt.plot.plot_state_prob(few).set_title("The first three of twelve sessions", pad=24)

# %%
nt.plot.plot_transition_diagram(fit)

# %%
nt.plot.plot_dwell_times(nt.dwell_times(states["viterbi"]))

# %%
# Is it true?
# -----------
# Here that can be asked. States are numbered by how often they hold, so each is paired with the strategy
# whose weights are nearest.

known = truth["weight"].isel(subject=0).sel(regressor=["bias", *design["feature"].values]).values
found = np.column_stack([fit["bias"], fit["feature_weight"]])
pair = np.abs(found[:, None] - known).sum(axis=-1).argmin(axis=1)
right = float((pair[states["state_prob"].argmax("state").values] == truth["path"].values).mean())
print(f"{right:.0%} of the trials are given their true strategy")
assert sorted(pair) == [0, 1, 2]
assert right > 0.85

fig, ax = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
for state in range(3):
    ax.scatter(known[pair[state]], found[state], color=nt.plot.style.colour(state), label=f"state {state}")
ends = [known.min() - 0.5, known.max() + 0.5]
ax.plot(ends, ends, color="#c9d0d9", zorder=0)
ax.set(xlabel="weight put in (log odds)", ylabel="weight found (log odds)", title="Weights come back")
ax.legend(frameon=False)
plt.show()

# %%
# The same in one command
# -----------------------
# The pipeline does all of this for every recording of a folder and writes a page for each::
#
#     neurotools run choice-states mice/ --out strategies --set compare=[1,2,3,4]
