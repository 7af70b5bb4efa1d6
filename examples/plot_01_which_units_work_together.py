"""
Which neurons work together, and when?
======================================

Seventy-five neurons in nucleus HVC of a zebra finch, imaged while it sings (Mackevicius et al. 2019). We ask
which of them change together, at which moments of the song, and in which communities.
"""

# %%
# A recording, with names
# -----------------------
# ``nt.load`` returns a tree of labelled arrays, each with its own clock: 30 frames per second for the
# neurons, 200 columns per second for the spectrogram of the song.

import neurotools as nt

recording = nt.load("songbird-hvc")
activity = recording["calcium/activity"]
nt.plot.plot_traces(activity).set_title("Seventy-five neurons of a singing zebra finch")

# %%
# Who changes together at one moment
# ----------------------------------
# The affinity of two neurons at one moment is large where both rise, or both fall, and zero where they move
# apart. With *g* the slope of a trace divided by its largest value, it is √(\|g_i\| \|g_j\|) where the
# signs agree. It is kept in factored form: two drives per neuron stand for all 2,775 pairs.

affinity = nt.differential_affinity(activity, kernel="geomean", smooth_s=2 / 30)
print(affinity)

# %%
# Motifs that come back
# ---------------------
# A non-negative factorisation writes the affinities as motifs (who with whom) times time courses (when).
# Some motifs follow one syllable, time after time.

fit = nt.NTF(rank=8, n_restarts=5, seed=0).fit(affinity)
communities = nt.BlockModel(seed=0).fit(fit["motif"])
connectome = nt.dynamic_connectome(fit, communities)
ax = nt.plot.plot_time_loadings(fit, stimulus=recording["stimulus/spectrogram"], active=connectome)
ax.figure.suptitle("When each motif is engaged, under the song", x=0.02, ha="left")

# %%
# Communities within a motif
# --------------------------
# A weighted block model groups neurons that a motif does not tell apart. It chooses the number of
# communities by description length: a group is kept only if it pays for itself.

nt.plot.plot_motifs(fit, communities)

# %%
# Does the order of neurons repeat with the song?
# -----------------------------------------------
# Take the five leading neurons of each motif and the loud syllables of the song. After each syllable, do
# these neurons peak in the same order? Circular shifts of each neuron tell what chance would give.

leading = fit["motif"].sum("unit_to").to_pandas().apply(lambda row: list(row.nlargest(5).index), axis=1)
units = sorted(set(leading.explode()))
syllables = nt.loud_syllables(recording["stimulus/spectrogram"])
test = nt.sequence_test(activity, syllables["onset"], units=units, n_shifts=200, seed=0)
print(f"agreement of order {float(test['statistic']):.2f}, p = {float(test['p_value']):.3f}")
assert float(test["p_value"]) < 0.01

# %%
# What can go wrong
# -----------------
# With one recording the factorisation of pairs is not unique: other random starts may find other motifs
# with nearly the same error. The similarity of restarts says how far to trust them, and it is part of every
# fit.

nt.plot.plot_restart_similarity(fit)

# %%
# The same on the command line, for a folder of recordings, with a report for each::
#
#     neurotools run dynamic-connectome recordings/ results/ --set rank=8 --set smooth_s=0.0667
