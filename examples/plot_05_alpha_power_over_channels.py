"""
Where does alpha power rise and fall together?
==============================================

One person opens and closes a fist on a cue while 64 electrodes record (PhysioNet's motor movement and
imagery set). Alpha rhythms, 8 to 13 Hz, have several sources. Does the dynamic connectome of their power
tell them apart, without being told where any electrode is?
"""

# %%
# Power in a band
# ---------------
# The recording ends with half a second of zeros, which we leave out, and its channel names carry dots.
# Power is taken in windows of 1 s that overlap by nine tenths, so there are ten values a second.

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt

recording = nt.load("eegmmidb")
signal = recording["eeg/signal"].sel(time=slice(0, 124.4))
signal = signal.assign_coords(channel=[name.strip(".") for name in signal.channel.values])
alpha = nt.band_power(signal, (8.0, 13.0), window_s=1.0, overlap=0.9)
print(dict(alpha.sizes), alpha.attrs["units"])
loudest = alpha.mean("time").to_pandas().nlargest(4) * 1e12
print("largest mean power (µV²):", loudest.round(0).to_dict())
assert set(loudest.index) <= {"O1", "O2", "Oz", "Iz"}

some = alpha.sel(channel=["O1", "Oz", "O2", "C3", "Cz", "C4", "F3", "F4"]) * 1e12
nt.plot.plot_traces(some.assign_attrs(units="µV²")).set_title("Alpha power of eight channels")

# %%
# The fist
# --------
# Moving a hand quiets the alpha rhythm of the sensorimotor cortex. Power from 0.5 to 3.4 s after a cue,
# relative to rest:

epochs = nt.epochs(alpha, recording["events"].to_dataset(), tmin=0.5, tmax=3.4, edge="drop")
kind = epochs["trial_type"].values
power = epochs.mean("time")
rest = power.isel(trial=kind == "T0").mean("trial")
ratio = {
    hand: (power.isel(trial=kind == code).mean("trial") / rest).sel(channel=["C3", "C4"]).values.round(2)
    for code, hand in (("T1", "left fist"), ("T2", "right fist"))
}
print("power at C3 and C4, relative to rest:", ratio)
assert all(values.max() < 1 for values in ratio.values())

# %%
# Motifs of power
# ---------------
# Channels whose alpha power rises and falls together share a motif. Four motifs, and the ten channels that
# take part most in each: the back of the head, the left side, the front, the right side. No electrode
# position was used; random starts agree.

affinity = nt.differential_affinity(alpha, smooth_s=0.3)
fit = nt.NTF(rank=4, n_restarts=5, seed=0).fit(affinity)
assert float(fit["restart_similarity"].min()) > 0.99
strength = fit["motif"].sum("channel_to").to_pandas()
leading = [list(row.nlargest(10).index) for _, row in strength.iterrows()]
for component, channels in enumerate(leading):
    print(component, " ".join(channels))


def side(channels):
    """Left, right, or neither, by the numbers of the 10-20 names."""
    number = [int(digits) for name in channels if (digits := "".join(filter(str.isdigit, name)))]
    odd = np.mean([n % 2 for n in number])
    return "left" if odd > 0.8 else "right" if odd < 0.2 else "both"


sides = [side(channels) for channels in leading]
print(sides)
assert sides.count("left") == sides.count("right") == 1
assert all(name[0] in "PO" for name in leading[0])

# %%
# The same on a head, seen from above. Circles grow with the part that a channel has in a motif; T9 and T10,
# below the ears, have no place in this set of positions.

import mne

place = mne.channels.make_standard_montage("biosemi64").get_positions()["ch_pos"]
place = {name.lower(): 1000 * xyz[:2] for name, xyz in place.items()}
shown = strength[[name for name in strength.columns if name.lower() in place]]
xy = np.array([place[name.lower()] for name in shown.columns])
fig, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained", sharex=True, sharey=True)
for component, ax in enumerate(axes):
    part = shown.loc[component] / shown.loc[component].max()
    ax.scatter(*xy.T, s=4, color="0.75")
    ax.scatter(*xy.T, s=90 * part**2, color="#1f4e79", alpha=0.8, lw=0)
    ax.set(title=f"motif {component}", aspect="equal", xlabel="left to right (mm)")
axes[0].set_ylabel("back to front (mm)")
plt.show()

# %%
# When
# ----

communities = nt.BlockModel(seed=0).fit(fit["motif"])
connectome = nt.dynamic_connectome(fit, communities)
nt.plot.plot_time_loadings(fit, active=connectome).set_title("When alpha power moves together", loc="left")

# %%
# What can go wrong
# -----------------
# Neighbouring electrodes see the same sources through the skull, so their power is alike without any
# coupling of brain areas. Motifs of sensors are patterns on the head; to speak of areas takes source
# estimates or electrodes inside the head.
#
# The same on the command line::
#
#     neurotools run dynamic-connectome eegmmidb results --set "band=[8, 13]" --set rank=4 --set smooth_s=0.3
