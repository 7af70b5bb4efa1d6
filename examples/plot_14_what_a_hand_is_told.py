"""
What does motor cortex tell the hand?
=====================================

A monkey reaches for targets while 171 neurons of its motor cortex are recorded (Stevenson et al. 2011). Each
neuron has a direction in which it fires most. How many, and how broadly?
"""

# %%
# Direction of the hand
# ---------------------
# Only moments at which the hand really moves: direction means nothing at rest.

import matplotlib.pyplot as plt
import numpy as np

import neurotools as nt

recording = nt.load("m1-reaching")
counts = recording["counts/counts"]
velocity = recording["behaviour/hand_velocity"].sel(axis=["x", "y"])
speed = np.hypot(*velocity.to_numpy())
moving = speed > np.quantile(speed, 0.6)
direction = velocity.isel(axis=0, drop=True).copy(data=np.arctan2(*velocity.to_numpy()[::-1]))
print(f"{moving.mean():.0%} of {counts.sizes['time']} bins are movement")

# %%
# Tuning curves
# -------------
# Firing rates in twelve bins of direction, and a cosine fitted to each (Georgopoulos et al. 1982). Its share
# of the variance between bins says how well "one preferred direction" describes a neuron. Neurons that are
# silent during movement have no direction.

curves = nt.tuning_curve(
    counts.isel(time=moving), direction.isel(time=moving).rename("direction"), bins=12, limits=(-np.pi, np.pi)
)
curve = curves["rate"]
middle = curve["direction"].to_numpy()
design = np.stack([np.ones_like(middle), np.cos(middle), np.sin(middle)], axis=1)
values = curve.transpose("direction", "unit").to_numpy()
weights, *_ = np.linalg.lstsq(design, values, rcond=None)
left = ((values - design @ weights) ** 2).sum(axis=0)
spread = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
share = 1 - np.divide(left, spread, out=np.ones_like(left), where=spread > 0)
print(f"the cosine explains more than 70 % in {(share > 0.7).sum()} of {share.size} neurons")
assert (share > 0.7).sum() > 60

best = np.argsort(-np.where(share > 0.7, np.hypot(weights[1], weights[2]), 0))[:4]
figure, axes = plt.subplots(1, 4, figsize=(11, 2.8), sharex=True, layout="constrained")
fine = np.linspace(-np.pi, np.pi, 100)
for ax, unit in zip(axes, best, strict=True):
    ax.plot(np.degrees(middle), values[:, unit], "o", color=nt.plot.style.colour(0))
    fitted = weights[0, unit] + weights[1, unit] * np.cos(fine) + weights[2, unit] * np.sin(fine)
    ax.plot(np.degrees(fine), fitted, color=nt.plot.style.colour(1))
    ax.set_title(f"neuron {int(curve['unit'][unit])}")
    ax.set_xlabel("direction (degrees)")
    ax.set_ylim(bottom=0)
axes[0].set_ylabel("rate (Hz)")

# %%
# All directions
# --------------
# Are the preferred directions of tuned neurons spread evenly? Their mean resultant length is compared with
# that of as many directions drawn evenly.

preferred = np.arctan2(weights[2], weights[1])[share > 0.7]
resultant = np.abs(np.exp(1j * preferred).mean())
drawn = np.random.default_rng(0).uniform(-np.pi, np.pi, (2000, preferred.size))
null = np.abs(np.exp(1j * drawn).mean(axis=1))
p = (1 + (null >= resultant).sum()) / (1 + null.size)
print(f"mean resultant length {resultant:.2f}, p = {p:.3f}")
assert 0.01 < p < 0.2  # not enough to say that they are not

figure, ax = plt.subplots(figsize=(4, 4), subplot_kw={"projection": "polar"}, layout="constrained")
heights, edges = np.histogram(preferred, bins=16, range=(-np.pi, np.pi))
ax.bar(edges[:-1], heights, width=np.diff(edges), align="edge", color=nt.plot.style.colour(0), alpha=0.8)
ax.set_title("Preferred directions of tuned neurons")

# %%
# What can go wrong
# -----------------
# Direction, position and speed go together in reaching, so a curve over one of them also shows the others. A
# model with all of them at once tells them apart: ``nt.glm_design(counts, stimulus=...)``.
