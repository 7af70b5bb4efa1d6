"""
Tutorial: features that nobody named
====================================

**Goal.** Train a network on a recording without labels, compare it with something simple, and split data so
that you do not deceive yourself. **Time.** 30 minutes. **You need** to know what least squares does.

Labels are rare: nobody tells a recording second by second. But a recording can ask its own questions. Hide a
part of it, and let a network guess it from the rest; to guess well it has to find out what goes with what.
What it finds are *features*.
"""

# %%
# A question that needs no label
# ------------------------------
# The simplest hidden part is the next sample. Guess it from the :math:`p` samples before, each with a weight,
#
# .. math:: \hat x_t = \sum_{k=1}^{p} w_k\, x_{t-k},
#
# and choose the weights that make the squared error smallest. One minute of EEG teaches them, the rest tests.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import neurotools as nt

recording = nt.load("eegmmidb")
# The last half second of this recording is zeros, which anyone could guess.
signal = nt.filter(
    recording["eeg/signal"].isel(channel=slice(0, 8)).sel(time=slice(0, 124.4)), low=1, high=40
)
values = signal.transpose("channel", "time").to_numpy()
values = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
past, future = values[:, : 100 * 160], values[:, 100 * 160 :]


def lagged(x, p):
    """Rows of the p samples before, and the sample they are to foretell."""
    before = np.stack([x[:, p - k - 1 : x.shape[1] - k - 1] for k in range(p)], axis=-1)
    return before.reshape(-1, p), x[:, p:].reshape(-1)


error = {}
for p in (1, 2, 3, 5, 8, 12, 20):
    weights = np.linalg.lstsq(*lagged(past, p), rcond=None)[0]
    before, after = lagged(future, p)
    error[p] = np.mean((after - before @ weights) ** 2) / np.var(after)
print({p: round(float(e), 4) for p, e in error.items()})
assert error[1] < 0.2
assert error[5] < 0.2 * error[1]

# %%
# One sample before is worth a lot, because the signal is slow; five are worth far more, because it swings.
#
# **Exercise 1.** We removed everything above 40 Hz, and there are 160 samples a second. Why does that make
# the next sample easy to guess, and what does it say of a network that guesses well?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# A signal without fast parts cannot do anything new within 6 ms: nearly all of the next sample is fixed by
# those before. A low error says first of all that we filtered. It says nothing about brains until it is
# compared with something that knows nothing about brains: the straight line above.
#
# .. raw:: html
#
#    </details>
#
# The same question to a network
# ------------------------------
# An ELM neuron (Spieler et al. 2024) reads the samples one by one and keeps 32 numbers in memory, each of
# which fades at a pace of its own. It is trained on the first four fifths of the windows; the rest is held
# out.

windows = nt.windows(signal, length_s=1.0)
model = nt.encoders.create("elm-nano", seed=0, steps=80, check_every=10, patience=0)
fit = model.fit(windows, out=Path(tempfile.mkdtemp()) / "elm")

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.plot(fit["iteration"], fit["loss"], "o-", color=nt.plot.style.colour(0), label="network, trained on")
ax.plot(
    fit["iteration"], fit["held_out_loss"], "s--", color=nt.plot.style.colour(1), label="network, held out"
)
for p, line in ((1, ":"), (5, "-.")):
    ax.axhline(error[p], color="black", linestyle=line, linewidth=1)
    ax.text(80, error[p], "line through 1 sample" if p == 1 else f"line through {p}", ha="right", va="bottom")
ax.set_yscale("log")
ax.set_xlabel("training step")
ax.set_ylabel("squared error (variance 1)")
ax.set_title("The next sample: a small network, and straight lines")
ax.legend(loc="upper right")

# %%
# The network learns, and a straight line is better. That is no failure of networks: this one had 80 steps and
# a question that a line answers. It is why a loss is never shown alone.

final = float(fit["held_out_loss"][-1])
assert final < float(fit["held_out_loss"][0])
assert final > error[5]

# %%
# Features
# --------
# What the network keeps in memory while it reads a window is a description of the window: 32 numbers that
# nobody named, here the largest value of each. Windows of one second, a new one every tenth:

often = nt.windows(signal, length_s=1.0, overlap=0.9)
features = model.transform(fit, often, pool="max").transpose("feature", "window")
start = often["window"].to_numpy()
shown = StandardScaler().fit_transform(features.to_numpy().T)

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
image = ax.pcolormesh(
    start, np.arange(shown.shape[1]), shown.T, cmap="RdBu_r", vmin=-3, vmax=3, rasterized=True
)
figure.colorbar(image, label="value (standard deviations)")
ax.set_xlabel("begin of the window (s)")
ax.set_ylabel("feature")
ax.set_title("Thirty-two features of every window")

# %%
# What can go wrong: a split that leaks
# -------------------------------------
# Do the features tell anything? A *probe* is a simple classifier on top of them. We try it on labels that
# mean nothing: for every four seconds a coin is thrown. Nobody can foretell a coin, so an honest probe is
# right half of the time.

rng = np.random.default_rng(0)
stretch = (start // 4).astype(int)
coins = [rng.integers(0, 2, stretch.max() + 1)[stretch] for _ in range(20)]
probe = KNeighborsClassifier(1)  # the label of the most similar window


def shuffled(label):
    """Any half of the windows to learn from, the other half to be judged by."""
    order = rng.permutation(label.size)
    learn, judge = order[: label.size // 2], order[label.size // 2 :]
    return probe.fit(shown[learn], label[learn]).score(shown[judge], label[judge])


def apart(label):
    """Each fifth of the recording is judged once, by what shares no sample and no coin with it."""
    right = []
    for low in np.arange(0, 120, 24):
        judge = (start >= low) & (start < low + 24)
        learn = (start + 1 <= low) | (start >= low + 24)
        right.append(probe.fit(shown[learn], label[learn]).score(shown[judge], label[judge]))
    return np.mean(right)


leaking, honest = [shuffled(coin) for coin in coins], [apart(coin) for coin in coins]
print(f"coins foretold: windows shuffled {np.mean(leaking):.2f}, stretches apart {np.mean(honest):.2f}")
assert np.mean(leaking) > 0.7
assert abs(np.mean(honest) - 0.5) < 0.06

figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
ax.hist([leaking, honest], bins=np.arange(0.3, 1.01, 0.05), label=["windows shuffled", "stretches apart"],
        color=[nt.plot.style.colour(1), nt.plot.style.colour(0)])  # fmt: skip
ax.axvline(0.5, color="black", linestyle=":", linewidth=1)
ax.set_xlabel("share of coins that is foretold")
ax.set_ylabel("labellings")
ax.set_title("The same features and probe, two ways to split")
ax.legend(loc="upper right")

# %%
# Shuffled windows foretell a coin. A window that is judged overlaps by nine tenths with windows that were
# learnt from, and shares their coin.
#
# **Exercise 2.** Would it help to let the windows not overlap, and still shuffle them?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# Less leaks, but neighbours in time remain alike (a drowsy minute, an electrode that slips), and neighbours
# share a label. Hold out stretches, or better whole recordings and people. ``nt.encoders`` refuses splits in
# which windows of both sides overlap; shuffling by hand, as above, is on you.
#
# .. raw:: html
#
#    </details>
#
# A question about the brain
# --------------------------
# The person rests or moves a fist. ``nt.probe`` holds out one stretch of trials after another, and gives an
# interval.

events = recording["events"].to_dataset()
which = np.searchsorted(events["onset"].to_numpy(), start + 0.5, side="right") - 1
moving = np.where(events["trial_type"].to_numpy()[which] == "T0", "rest", "fist")
labelled = features.assign_coords(moving=("window", moving)).transpose("window", "feature")
told = nt.probe(labelled.isel(window=slice(None, None, 10)), target="moving", groups=5, seed=0)
low, score, high = (float(told[name]) for name in ("score_low", "score", "score_high"))
print(f"balanced accuracy {score:.2f}, 95 % interval {low:.2f} to {high:.2f}; chance is 0.5")
assert low <= score <= high

# %%
# **Exercise 3.** Look at the interval. What may you say? What would you have to compare it with, even if it
# lay above one half?
#
# .. raw:: html
#
#    <details><summary>Solution</summary>
#
# While the interval reaches across one half: that these features tell nothing that these few windows could
# show. Above it: compare with the same network untrained, and with the power of the alpha and beta bands,
# which is known to fall when a hand moves. The pipeline below does the latter by itself.
#
# .. raw:: html
#
#    </details>
#
# The same in two lines
# ---------------------
#
#     neurotools run encoder-pretrain eegmmidb encoder/ --set encoder=elm-nano --set length_s=1 --set steps=80
#     neurotools run encoder-probe eegmmidb probe/ --set checkpoint=encoder/checkpoint --set length_s=1
#
# **Read on.** Spieler et al. (2024), ICLR, for the neuron; Kapoor and Narayanan (2023), Patterns 4, 100804,
# for leaks in published work; :doc:`the encoders and how they split </encoders>`.
