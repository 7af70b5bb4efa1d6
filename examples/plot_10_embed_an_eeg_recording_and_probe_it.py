"""
What does a small encoder learn from one EEG recording?
=======================================================

An encoder turns windows of a recording into features without being told what happens in them. We train a
very small one on 80 s of EEG in which a person moves a fist on a cue, and ask with a linear probe whether
its features tell moving from resting: beside the same network untrained, and beside plain band power.
"""

# %%
# Windows
# -------
# Two seconds each, with a new one every second. The recording ends with half a second of zeros, which we
# leave out. A window counts as moving when its middle lies in a cued movement.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import neurotools as nt

recording = nt.load("eegmmidb")
signal = nt.filter(recording["eeg/signal"].sel(time=slice(0, 124.4)), low=1.0, high=40.0)
windows = nt.windows(signal, length_s=2.0, overlap=0.5)
events = recording["events"].to_dataset()
middle = windows["window"].to_numpy() + 1.0
which = np.searchsorted(events["onset"].to_numpy(), middle, side="right") - 1
moving = events["trial_type"].to_numpy()[which] != "T0"
windows = windows.assign_coords(moving=("window", moving.astype(int)))
print(dict(windows.sizes), f"{moving.sum()} of {moving.size} windows moving")

# %%
# Training without labels
# -----------------------
# The network sees eight windows in a row and foretells the features of each from those before. Training holds
# out the last stretch of what it is given, and keeps the weights that foretold it best. The folder it writes
# holds weights, settings, scale, losses and a card, and opens wherever it lies.

first = windows.isel(window=windows["window"].to_numpy() < 80)  # the rest is for the probe
folder = Path(tempfile.mkdtemp())
model = nt.encoders.create("neurogpt-nano", seed=0, steps=40, check_every=5, patience=0)
fit = model.fit(first, out=folder / "trained")
print((folder / "trained" / "card.md").read_text().split("##")[0])

fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(fit["iteration"], fit["unexplained"], label="trained on")
ax.plot(fit["iteration"], fit["held_out_unexplained"], label="held out")
ax.axhline(1.0, color="0.7", linewidth=1)
ax.set(xlabel="training step", ylabel="variance not foretold (share)", ylim=(0, 3))
ax.set_title("Eighty seconds of EEG are little to learn from")
ax.legend(frameon=False)
fig.tight_layout()

# %%
# A probe, and what it has to beat
# --------------------------------
# Probes learn from the first 80 s and are judged on what follows; windows that reach across are left out. The
# untrained network is the same one at a learning rate of zero, which lets its normalisation follow the data
# and its weights stay random.

untrained = nt.encoders.create("neurogpt-nano", seed=0, steps=40, rate=0.0, patience=0)
random = untrained.fit(first, out=folder / "untrained")
bands = {"theta": (4, 8), "alpha": (8, 13), "beta": (13, 30)}
power = nt.band_power(windows.drop_vars(["window", "moving"]), bands, window_s=2.0, overlap=0.0)
features = {
    "trained encoder": model.transform(fit, windows, pool="flat").values,
    "untrained encoder": untrained.transform(random, windows, pool="flat").values,
    "band power": np.log(power.transpose("window", ...).values.reshape(len(moving), -1)),
}
start = windows["window"].to_numpy()
train, test = start <= 78, start >= 80
scores = {}
for name, values in features.items():
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced"))
    probe.fit(values[train], moving[train])
    scores[name] = balanced_accuracy_score(moving[test], probe.predict(values[test]))
print({name: round(score, 2) for name, score in scores.items()}, f"on {test.sum()} windows; chance is 0.5")

fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 1.2))
axes[0].barh([*scores][::-1], [*scores.values()][::-1], color=["0.7", "0.5", "tab:blue"])
axes[0].axvline(0.5, color="k", linewidth=1, linestyle=":")
axes[0].set(xlabel="balanced accuracy of the probe", xlim=(0, 1))
axes[0].set_title("Moving or resting")
flat = PCA(2, random_state=0).fit_transform(StandardScaler().fit_transform(features["trained encoder"]))
for kind, label in ((True, "moving"), (False, "resting")):
    axes[1].scatter(*flat[moving == kind].T, s=14, label=label)
axes[1].set(xlabel="first principal component", ylabel="second")
axes[1].set_title("Windows in the encoder's feature space")
axes[1].legend(frameon=False)
fig.tight_layout()

# %%
# With some forty windows to judge by, differences of a few points between bars mean nothing. A longer
# comparison on held-out runs, with intervals, stands on the validation page. These are *tiny demonstration
# weights*: the point is the way from a recording to features and to an honest probe, not the numbers.

assert all(0 <= score <= 1 for score in scores.values())
assert np.isfinite(features["trained encoder"]).all()
