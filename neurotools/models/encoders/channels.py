"""The channel contract: which channels an encoder needs, and what a user may choose where data has others.

``error`` (the default) refuses; ``subset`` leaves out what is too much; ``interpolate`` estimates what is
missing from the positions of the rest; ``learn`` lets fine-tuning learn a mixing. Nothing is filled with
zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, lookup, need

# 10-20 names of old and new usage
ALIASES = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
LEGENDRE_TERMS = 50
STIFFNESS = 4


def plain(name: object) -> str:
    """A channel's name without dots, case and usage: ``"Fc5."`` is ``"FC5"``, ``"T7"`` is ``"T3"``."""
    bare = str(name).strip(". ").upper()
    return ALIASES.get(bare, bare)


def route(array: xr.DataArray, wanted: Sequence[str], on_mismatch: str) -> np.ndarray:
    """How to get the wanted channels from those of the data.

    Returns
    -------
    numpy.ndarray
        Numbers of channels (wanted,), or weights (wanted, channel) where some are estimated.

    Raises
    ------
    SchemaError
        The data has other channels, and the user did not choose what to do about it.
    """
    have = [plain(name) for name in array["channel"].to_numpy()]
    need_ = [plain(name) for name in wanted]
    if len(set(have)) < len(have):
        raise SchemaError(
            "channels have names that occur more than once", code="NT-DATA-006",
            found=", ".join(sorted({name for name in have if have.count(name) > 1})),
        )  # fmt: skip
    missing = [w for w in wanted if plain(w) not in have]
    extra = [str(n) for n, h in zip(array["channel"].to_numpy(), have, strict=True) if h not in need_]
    if not missing and not extra:
        return np.array([have.index(name) for name in need_])
    return lookup("choice for channels", on_mismatch, CHOICES)(array, wanted, missing, extra)


def refused(array: xr.DataArray, wanted: Sequence[str], missing: list[str], extra: list[str]) -> np.ndarray:
    """Say what is missing and what is too much."""
    said = [
        f"missing: {', '.join(missing[:10])}" * bool(missing),
        f"not wanted: {', '.join(extra[:10])}" * bool(extra),
    ]
    raise SchemaError(
        "the channels are not those that the encoder needs",
        code="NT-DATA-005",
        found="; ".join(said),
        expected=", ".join(wanted[:24]) + (" ..." if len(wanted) > 24 else ""),
        fix='create the encoder with on_mismatch="subset" (leave out), "interpolate" (estimate from '
        'positions) or "learn" (fine-tuning learns a mixing)',
    )


def subset(array: xr.DataArray, wanted: Sequence[str], missing: list[str], extra: list[str]) -> np.ndarray:
    """Leave out what is too much; what is missing stays an error."""
    if missing:
        return refused(array, wanted, missing, extra)
    have = [plain(name) for name in array["channel"].to_numpy()]
    return np.array([have.index(plain(name)) for name in wanted])


def interpolate(
    array: xr.DataArray, wanted: Sequence[str], missing: list[str], extra: list[str]
) -> np.ndarray:
    """Weights of all channels of the data for each wanted one; a channel that is there is taken as it is."""
    names = [plain(name) for name in array["channel"].to_numpy()]
    known = standard_positions()
    unknown = [name for name in [*names, *map(plain, missing)] if name not in known]
    if unknown:
        raise SchemaError(
            "channels have no standard position to interpolate from", code="NT-DATA-006",
            found=", ".join(unknown[:10]), expected="names of the 10-20 system",
        )  # fmt: skip
    weights = spherical_spline(
        np.array([known[name] for name in names]), np.array([known[plain(name)] for name in wanted])
    )
    for row, name in enumerate(map(plain, wanted)):
        if name in names:
            weights[row] = np.eye(len(names))[names.index(name)]
    return weights


def learned(array: xr.DataArray, wanted: Sequence[str], missing: list[str], extra: list[str]) -> np.ndarray:
    """Only fine-tuning can learn a mixing; it never asks here."""
    raise SchemaError(
        "a mixing of channels is learned by fine-tuning, and this is none", code="NT-DATA-005",
        found=f"{array.sizes['channel']} channels", expected=f"{len(wanted)} channels",
        fix='finetune first, or create the encoder with on_mismatch="interpolate"',
    )  # fmt: skip


Choice = Callable[[xr.DataArray, Sequence[str], list[str], list[str]], np.ndarray]
CHOICES: dict[str, Choice] = {
    "error": refused, "subset": subset, "interpolate": interpolate, "learn": learned,
}  # fmt: skip


def first_mixing(array: xr.DataArray, wanted: Sequence[str]) -> np.ndarray:
    """Where a learned mixing starts, (wanted, channel): like names as they are, else the mean of all."""
    have = [plain(name) for name in array["channel"].to_numpy()]
    weights = np.full((len(wanted), len(have)), 1.0 / len(have))
    for row, name in enumerate(map(plain, wanted)):
        if name in have:
            weights[row] = np.eye(len(have))[have.index(name)]
    return weights


def standard_positions() -> dict[str, np.ndarray]:
    """Unit vectors of the electrodes of the 10-05 system, by plain name."""
    mne = need("mne", extra="eeg", to="know where electrodes lie")
    places = mne.channels.make_standard_montage("standard_1005").get_positions()["ch_pos"]
    centre = np.mean(list(places.values()), axis=0) * np.array([0.0, 1.0, 0.0])
    found = {plain(name): xyz - centre for name, xyz in places.items()}
    return {name: xyz / np.linalg.norm(xyz) for name, xyz in found.items()}


def spherical_spline(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Weights (wanted, known) of the smoothest function on the sphere through the known values.

    Perrin et al. (1989), Electroencephalography and Clinical Neurophysiology 72, 184-187, eqs. 1-3, m = 4.
    """
    n = len(known)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = spline_kernel(known @ known.T)
    system[n, n] = 0.0
    right = np.column_stack([spline_kernel(wanted @ known.T), np.ones(len(wanted))])
    return right @ np.linalg.solve(system, np.eye(n + 1)[:, :n])


def spline_kernel(cosine: np.ndarray) -> np.ndarray:
    """g(x) = sum_n (2n + 1) / (n (n + 1))^m P_n(x) / 4 pi."""
    n = np.arange(1, LEGENDRE_TERMS + 1)
    factor = np.concatenate([[0.0], (2 * n + 1) / (n * (n + 1.0)) ** STIFFNESS / (4 * np.pi)])
    return np.polynomial.legendre.legval(np.clip(cosine, -1, 1), factor)
