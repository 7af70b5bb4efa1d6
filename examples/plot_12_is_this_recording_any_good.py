"""
Is this recording any good?
===========================

Before anything is analysed: which channels are dead, which are loud, where does the mains hum? A real EEG of
64 channels, and then the same EEG with four faults that we put in ourselves, so that we know what should be
found.
"""

# %%
# As it came
# ----------
# Every number is taken part by part, so a recording longer than memory is judged the same way.

import numpy as np

import neurotools as nt
from neurotools import schema

recording = nt.load("eegmmidb")
judged = nt.quality(recording)
eeg = judged["eeg"].to_dataset()
flagged = eeg["flag"].where(eeg["flag"] != "", drop=True)
print(flagged.to_series().to_string())
nt.plot.plot_level(judged, "eeg")

# %%
# The two loud channels lie above the eyes: these are blinks. The validator also found that the file ends in
# half a second of zeros, which no amplifier gives.
#
# Four faults
# -----------
# A channel that came loose (ten times louder), one that died, mains that crept into a third, and an amplifier
# that froze for two seconds.

broken = recording["eeg/signal"].load().copy(deep=True)
time = broken["time"].to_numpy()
place = {name.strip("."): k for k, name in enumerate(broken["channel"].to_numpy())}
broken[place["C3"]] *= 10
broken[place["Pz"]] = 0.0
broken[place["Oz"]] += 6e-5 * np.sin(2 * np.pi * 50 * time)
broken[place["F4"], 3200:3520] = broken[place["F4"], 3200]
found = nt.quality(schema.recording_tree({"eeg/signal": broken}))
flags = found["eeg"]["flag"].to_series().rename(lambda name: name.strip("."))
print(flags[["C3", "Pz", "Oz", "F4"]].to_string())
assert "louder" in flags["C3"]
assert flags["Pz"] == "never changes"
assert "mains" in flags["Oz"]
assert "one value" in flags["F4"]

# %%
# Their spectra say which fault is which: the mains are a line at 50 Hz, a loose channel is loud everywhere.

nt.plot.plot_power(found, "eeg")

# %%
# On a folder of recordings the same is one command, with a page for each and an index:
#
#     neurotools run quality recordings/ quality/
