"""Units as they are written in files, turned into the canonical ones: V, T, s, Hz, m."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurotools.errors import SettingsError, did_you_mean

# Unit in the file -> (canonical unit, power of ten). Powers of ten are divided by, not multiplied with their
# rounded inverse, so that 50 us is the float64 nearest to 0.00005 s.
PREFIXES = {"": 0, "k": 3, "M": 6, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15}
POWERS: dict[str, tuple[str, int]] = {
    **{f"{prefix}V": ("V", PREFIXES[prefix]) for prefix in ("", "k", "m", "u", "n")},
    **{f"{prefix}T": ("T", PREFIXES[prefix]) for prefix in ("", "m", "u", "n", "p", "f")},
    **{f"{prefix}s": ("s", PREFIXES[prefix]) for prefix in ("", "m", "u", "n")},
    **{f"{prefix}Hz": ("Hz", PREFIXES[prefix]) for prefix in ("", "k", "M")},
    **{f"{prefix}m": ("m", PREFIXES[prefix]) for prefix in ("", "k", "c", "m", "u", "n")},
    **{f"{prefix}m/s": ("m/s", PREFIXES[prefix]) for prefix in ("", "c", "m", "u")},
    **{f"{prefix}m/s^2": ("m/s^2", PREFIXES[prefix]) for prefix in ("", "c", "m")},
}
# Kept as they are: they have no canonical unit that every reader would expect.
AS_THEY_ARE = (
    "1", "arbitrary", "percent", "count", "pixel", "px", "deg", "rad", "rad/s", "deg/s", "degC", "K", "Pa",
    "dB", "A", "W", "lux", "1/s", "1/m", "V/m^2", "V^2", "V^2/Hz", "mol/L",
)  # fmt: skip
SPELLINGS = {
    "volt": "V", "volts": "V", "µV": "uV", "μV": "uV", "microvolt": "uV", "microvolts": "uV",
    "millivolt": "mV", "millivolts": "mV",
    "µs": "us", "μs": "us", "sec": "s", "second": "s", "seconds": "s", "ms.": "ms", "msec": "ms",
    "millisecond": "ms", "milliseconds": "ms", "microsecond": "us", "microseconds": "us", "usec": "us",
    "hertz": "Hz", "µm": "um", "μm": "um", "micrometre": "um", "micrometer": "um", "millimetre": "mm",
    "metre": "m", "meter": "m", "metres": "m", "meters": "m", "a.u.": "arbitrary", "au": "arbitrary",
    "n/a": "arbitrary", "%": "percent", "counts": "count", "spikes": "count", "pixels": "px", "z": "1",
    "z-score": "1", "dF/F": "1", "dimensionless": "1", "degree": "deg", "degrees": "deg", "radian": "rad",
    "radians": "rad", "m*s^-1": "m/s", "mm/sec": "mm/s", "m/sec": "m/s",
}  # fmt: skip


def canonical(unit: str) -> tuple[str, int]:
    """Return the canonical unit and the power of ten that leads to it: ``"uV"`` gives ``("V", -6)``."""
    name = SPELLINGS.get(str(unit), str(unit))
    if name in POWERS:
        return POWERS[name]
    if name in AS_THEY_ARE:
        return ("px" if name == "pixel" else name), 0
    known = [*POWERS, *AS_THEY_ARE, *SPELLINGS]
    raise SettingsError(
        f"there is no unit named {unit!r}.{did_you_mean(str(unit), known)}",
        code="NT-DATA-002",
        expected="one of " + ", ".join([*POWERS, *AS_THEY_ARE]),
        fix='give units="arbitrary" when the unit is not known',
    )


def scaled(values: np.ndarray, power: int) -> np.ndarray:
    """Multiply by a power of ten, in float64 unless the power is 0."""
    if power == 0:
        return values
    wide = np.asarray(values, dtype="float64")
    return np.asarray(wide / 10.0**-power if power < 0 else wide * 10.0**power)


def converted(values: np.ndarray, unit: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return values in the canonical unit, and attributes that say what was done."""
    target, power = canonical(unit)
    attrs: dict[str, Any] = {"units": target}
    if power:
        attrs["units_in_file"] = str(unit)
    return scaled(values, power), attrs


def seconds(values: np.ndarray, unit: str) -> np.ndarray:
    """Return times in seconds, or say that ``unit`` is no unit of time."""
    target, power = canonical(unit)
    if target != "s":
        raise SettingsError(
            "a unit of time is needed", code="NT-DATA-002", found=unit, expected="one of s, ms, us, ns"
        )
    return np.asarray(scaled(values, power), dtype="float64")
