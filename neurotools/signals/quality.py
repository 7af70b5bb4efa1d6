"""What a recording is worth: numbers for every channel, unit and region, read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect
from neurotools.schema import MAIN_ARRAYS, SPACE_DIMS, space_dim, spike_trains, validate
from neurotools.signals.steps import rate_of, sessions

N_BINS = 200  # of the overview over time
PART_BYTES = 1 << 25  # of samples in memory at once
SPECTRUM_S = 4.0  # length of the pieces whose spectra are averaged
SPECTRUM_LEAST = 64  # samples of such a piece
LINE_HZ = (50.0, 60.0)  # of the mains; which one a place has is not known
LINE_WIDTH_HZ = 1.0
LINE_SHARE = 0.2  # of the power above 1 Hz, from which a row is flagged
LEAST_SPREAD = 0.1  # of log loudness: rows that are alike differ by this much
FLAT_S = 1.0  # a stretch of one and the same value, from which a row in volts or tesla is flagged
REFRACTORY_S = 0.0015  # no neuron fires twice within it
REFRACTORY_SHARE = 0.01  # of intervals, from which a unit is flagged
PRESENCE = 0.5  # share of time bins with a spike, below which a unit is flagged
ELECTRIC = ("V", "T")


def quality(recording: xr.DataTree, *, stand_out: float = 5.0) -> xr.DataTree:
    """Judge every row of a recording's signals, spikes and counts, in bounded memory.

    Arrays that lie on disk are read part by part; besides results, at most about 100 MB are held.

    Parameters
    ----------
    recording : xarray.DataTree
        As ``nt.load`` returns it.
    stand_out : float
        A row is flagged as loud or quiet where the logarithm of its standard deviation lies so many robust
        standard deviations from the median of all rows.

    Returns
    -------
    xarray.DataTree
        A group for each modality, named like the recording's node, with its rows along ``channel``,
        ``unit`` or ``region`` (after ``subject``, where there are several).

        Signals: ``mean``, ``sd``, ``minimum``, ``maximum`` in the unit of the data; ``n_missing`` samples;
        ``longest_flat_s``; ``largest_step``, from one sample to the next, in standard deviations;
        ``signal_to_noise``, mean over standard deviation (the temporal one of fMRI); ``level`` (row, bin),
        the standard deviation in each of up to 200 bins of time. Where the clock is regular, ``power``
        (row, frequency) from Hann windows of four seconds or 64 samples, averaged (Welch 1967), and for volts
        and tesla ``line_share``, the part of the power above 1 Hz that lies within 1 Hz of 50 or 60 Hz,
        whichever is larger.

        Spikes: ``n_spikes``, ``rate_hz``, ``refractory_share`` of intervals below 1.5 ms, ``interval_cv``,
        ``presence``, the share of bins with a spike, ``level`` (unit, bin) in spikes per second.

        Counts: ``mean``, ``fano`` (variance over mean), ``maximum``, ``level`` (unit, bin) per bin width.

        All: ``flag`` (row), words on what stands out, empty where nothing does; attrs ``n_rows``,
        ``n_flagged``. Group ``findings`` lists
        what the validator says: ``level``, ``code``, ``where``, ``problem``, ``found`` along ``finding``.

    Raises
    ------
    SchemaError
        The recording holds none of these (a table of behaviour has no rows to judge).
    """
    expect(recording, "a recording", xr.DataTree, fix="recording = nt.load(path)")
    groups: dict[str, xr.Dataset] = {}
    for path in MAIN_ARRAYS:
        node, _, name = path.partition("/")
        held = recording[node].to_dataset() if node in recording.children else xr.Dataset()
        if name in held:
            array = held[name]
            groups[f"/{node}"] = _counts(array) if node == "counts" else _signal(array, stand_out)
    if "spikes" in recording.children and "row_size" in recording["spikes"]:
        groups["/spikes"] = _spikes(recording["spikes"].to_dataset())
    if not groups:
        raise SchemaError(
            "there is no signal, no spike and no count to judge", code="NT-DATA-010",
            found=", ".join(recording.children) or "an empty recording",
            expected="one of " + ", ".join([*MAIN_ARRAYS, "spikes"]),
        )  # fmt: skip
    for group in groups.values():
        group.attrs |= {"n_rows": group["flag"].size, "n_flagged": int((group["flag"] != "").sum())}
    groups["/findings"] = _findings(recording)
    return xr.DataTree.from_dict(groups)


# ---- signals --------------------------------------------------------------------------------------------
class _Running:
    """Sums over parts of a signal (row, time), from which moments, runs and bins follow."""

    def __init__(self, n_rows: int, n_time: int) -> None:
        self.n_bins = min(N_BINS, n_time)
        self.edges = np.linspace(0, n_time, self.n_bins + 1).astype(int)
        self.count, self.mean, self.square = (np.zeros(n_rows) for _ in range(3))
        self.low, self.high = np.full(n_rows, np.inf), np.full(n_rows, -np.inf)
        self.step, self.run, self.longest = (np.zeros(n_rows) for _ in range(3))
        self.last = np.full(n_rows, np.nan)
        self.centre: np.ndarray | None = None
        self.bins = np.zeros((3, n_rows, self.n_bins))  # count, sum, sum of squares

    def add(self, x: np.ndarray, start: int, begins: bool) -> None:
        """Take in the next part, from sample ``start`` on; ``begins`` says that a session does so with it."""
        if begins:
            self.last, self.run = np.full_like(self.last, np.nan), np.zeros_like(self.run)
        ok = np.isfinite(x)
        clean = np.where(ok, x, 0.0)
        n = ok.sum(axis=1)
        part_mean = clean.sum(axis=1) / np.maximum(n, 1)
        # Chan, Golub & LeVeque (1983), The American Statistician 37, 242-247, eq. 2.1: no cancellation.
        centred = np.where(ok, x - part_mean[:, None], 0.0)
        total = np.maximum(self.count + n, 1)
        shift = part_mean - self.mean
        self.square += (centred**2).sum(axis=1) + shift**2 * self.count * n / total
        self.mean += shift * n / total
        self.count += n
        self.low = np.fmin(self.low, np.fmin.reduce(x, axis=1))
        self.high = np.fmax(self.high, np.fmax.reduce(x, axis=1))
        self._steps(x)
        if self.centre is None:  # one for all parts, since a bin may lie in two
            self.centre = part_mean
        self._bins(clean - self.centre[:, None], ok, start)

    def _steps(self, x: np.ndarray) -> None:
        change = np.diff(x, axis=1, prepend=self.last[:, None])
        self.step = np.fmax(self.step, np.fmax.reduce(np.abs(change), axis=1))
        same = change == 0
        for row in np.flatnonzero(same.any(axis=1)):
            edges = np.flatnonzero(np.diff(np.concatenate([[False], same[row], [False]])))
            lengths = (edges[1::2] - edges[::2]).astype(float)
            if same[row, 0]:
                lengths[0] += self.run[row]
            self.longest[row] = max(self.longest[row], lengths.max())
            self.run[row] = lengths[-1] if same[row, -1] else 0.0
        self.run[~same[:, -1]] = 0.0
        self.last = x[:, -1].copy()

    def _bins(self, x: np.ndarray, ok: np.ndarray, start: int) -> None:
        first = int(np.searchsorted(self.edges, start, side="right")) - 1
        stop = start + x.shape[1]
        inner = self.edges[(self.edges > start) & (self.edges < stop)] - start
        places = np.concatenate([[0], inner])
        into = slice(first, first + places.size)
        for kind, values in enumerate((ok.astype(float), np.where(ok, x, 0), np.where(ok, x, 0) ** 2)):
            self.bins[kind, :, into] += np.add.reduceat(values, places, axis=1)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of each row, divisor n."""
        return np.sqrt(self.square / np.maximum(self.count, 1))

    @property
    def level(self) -> np.ndarray:
        """Standard deviation of each row in each bin; NaN where a bin holds no sample."""
        n, total, square = self.bins
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(np.maximum(square / n - (total / n) ** 2, 0))


def _signal(array: xr.DataArray, stand_out: float) -> xr.Dataset:
    dim = space_dim(array)
    lead = tuple(str(d) for d in array.dims if d not in (dim, "time"))
    array = array.transpose(*lead, dim, "time")
    shape, n_time = array.shape[:-1], array.sizes["time"]
    running = _Running(int(np.prod(shape)), n_time)
    spectrum = _Spectrum(array)
    for start, x, begins in _parts(array):
        running.add(x, start, begins)
        spectrum.add(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(running.mean) / running.sd
        step = running.step / running.sd
    missing = n_time - running.count
    columns = {
        "mean": running.mean, "sd": running.sd, "minimum": running.low, "maximum": running.high,
        "n_missing": missing.astype(int), "longest_flat_s": running.longest / spectrum.sfreq,
        "largest_step": step, "signal_to_noise": ratio,
    }  # fmt: skip
    units = {name: array.attrs.get("units", "arbitrary") for name in ("mean", "sd", "minimum", "maximum")}
    units |= {"n_missing": "count", "longest_flat_s": "s"}
    rows = {
        name: ((*lead, dim), v.reshape(shape), {"units": units.get(name, "1")}) for name, v in columns.items()
    }
    result = xr.Dataset(rows, coords={k: v for k, v in array.coords.items() if set(v.dims) <= {*lead, dim}})
    time = array["time"].to_numpy()
    middle = (time[running.edges[:-1]] + time[running.edges[1:] - 1]) / 2
    result["level"] = ((*lead, dim, "bin"), running.level.reshape(*shape, -1), {"units": units["sd"]})
    result = result.assign_coords(bin=("bin", middle, {"units": "s"}))
    result = spectrum.into(result, (*lead, dim), shape, array)
    result.attrs = {"sfreq": spectrum.sfreq, "duration_s": n_time / spectrum.sfreq, "n_samples": n_time}
    return result.assign(flag=((*lead, dim), _signal_flags(result, running, stand_out).reshape(shape)))


def _parts(array: xr.DataArray) -> Iterator[tuple[int, np.ndarray, bool]]:
    """The samples (row, time), a part at a time, the place of its first, and whether a session begins."""
    rows = max(1, int(np.prod(array.shape[:-1])))
    step = max(2, PART_BYTES // (8 * rows))
    for session in sessions(array):
        for start in range(session.start, session.stop, step):
            part = array.isel(time=slice(start, min(start + step, session.stop))).to_numpy()
            values = part.reshape(rows, -1).astype("float64", copy=False)
            yield start, values, start == session.start


class _Spectrum:
    """Power over frequency, averaged over pieces that lie whole inside a part and hold no missing sample."""

    def __init__(self, array: xr.DataArray) -> None:
        try:
            self.sfreq, self.regular = rate_of(array, "a spectrum"), True
        except SchemaError:  # a spectrum needs a regular clock, and nothing else here does
            step = np.diff(array["time"].to_numpy()) if array.sizes["time"] > 1 else np.ones(1)
            self.sfreq, self.regular = 1 / float(np.median(step)), False
        self.length = min(array.sizes["time"], max(SPECTRUM_LEAST, round(SPECTRUM_S * self.sfreq)))
        self.total: Any = 0.0
        self.n_pieces = 0

    def add(self, x: np.ndarray) -> None:
        """Take in the next part."""
        from scipy.signal import periodogram

        for start in range(0, x.shape[1] - self.length + 1, self.length) if self.regular else ():
            piece = x[:, start : start + self.length]
            if np.isfinite(piece).all():
                self.total = self.total + periodogram(piece, self.sfreq, "hann", detrend="constant")[1]
                self.n_pieces += 1

    def into(self, result: xr.Dataset, dims: tuple[str, ...], shape: Any, array: xr.DataArray) -> xr.Dataset:
        """Add ``power`` and, for electric signals, ``line_share`` to a result."""
        if not self.n_pieces:
            return result
        frequency = np.fft.rfftfreq(self.length, 1 / self.sfreq)
        power = (self.total / self.n_pieces).reshape(*shape, -1)
        unit = f"{array.attrs.get('units', 'arbitrary')}^2/Hz"
        result = result.assign_coords(frequency=("frequency", frequency, {"units": "Hz"}))
        result["power"] = ((*dims, "frequency"), power, {"units": unit})
        near = [np.abs(frequency - hz) <= LINE_WIDTH_HZ for hz in LINE_HZ if hz < self.sfreq / 2]
        if array.attrs.get("units") in ELECTRIC and near:
            whole = np.maximum(power[..., frequency > 1].sum(axis=-1), np.finfo(float).tiny)
            share = np.max([power[..., mask].sum(axis=-1) for mask in near], axis=0) / whole
            result["line_share"] = (dims, share, {"units": "1"})
        return result


def _signal_flags(result: xr.Dataset, running: _Running, stand_out: float) -> np.ndarray:
    sd = running.sd
    with np.errstate(divide="ignore"):
        log = np.log(sd)
    middle = np.median(log[sd > 0]) if (sd > 0).any() else 0.0
    spread = 1.4826 * np.median(np.abs(log[sd > 0] - middle)) if (sd > 0).any() else 0.0
    flat = sd == 0
    # Amplifiers are never that quiet; deconvolved calcium and slow images may be.
    electric = result["sd"].attrs["units"] in ELECTRIC
    still = electric & (result["longest_flat_s"].to_numpy().ravel() >= FLAT_S)
    said = {
        "never changes": flat,
        "missing samples": result["n_missing"].to_numpy().ravel() > 0,
        "stretch of one value": ~flat & still,
        "much louder than others": ~flat & (log - middle > stand_out * max(spread, LEAST_SPREAD)),
        "much quieter than others": ~flat & (middle - log > stand_out * max(spread, LEAST_SPREAD)),
    }
    if "line_share" in result:
        said["mains"] = result["line_share"].to_numpy().ravel() > LINE_SHARE
    return _joined(said, sd.size)


def _joined(said: dict[str, np.ndarray], n: int) -> np.ndarray:
    words = [", ".join(word for word, where in said.items() if where[row]) for row in range(n)]
    return np.array(words, dtype=object).astype(str)


# ---- spikes and counts ----------------------------------------------------------------------------------
def _spikes(spikes: xr.Dataset) -> xr.Dataset:
    start, stop = float(spikes.attrs["t_start"]), float(spikes.attrs["t_stop"])
    edges = np.linspace(start, stop, N_BINS + 1)
    trains = list(spike_trains(spikes))
    level = np.array([np.histogram(train, edges)[0] for train in trains]).reshape(len(trains), N_BINS)
    gaps = [np.diff(train) for train in trains]
    refractory = np.array([(gap < REFRACTORY_S).mean() if gap.size else 0.0 for gap in gaps])
    cv = np.array([gap.std() / gap.mean() if gap.size > 1 and gap.mean() > 0 else np.nan for gap in gaps])
    n = np.array([train.size for train in trains])
    presence = (level > 0).mean(axis=1)
    said = {
        "silent": n == 0,
        "intervals below 1.5 ms": refractory > REFRACTORY_SHARE,
        "absent for long": (n > 0) & (presence < PRESENCE),
    }
    values = {
        "n_spikes": ("unit", n, {"units": "count"}),
        "rate_hz": ("unit", n / (stop - start), {"units": "Hz"}),
        "refractory_share": ("unit", refractory, {"units": "1"}),
        "interval_cv": ("unit", cv, {"units": "1"}),
        "presence": ("unit", presence, {"units": "1"}),
        "level": (("unit", "bin"), level / np.diff(edges), {"units": "Hz"}),
        "flag": ("unit", _joined(said, len(trains))),
    }
    coords = {k: v for k, v in spikes.coords.items() if v.dims == ("unit",)}
    coords["bin"] = xr.Variable("bin", (edges[:-1] + edges[1:]) / 2, {"units": "s"})  # type: ignore[assignment]
    return xr.Dataset(values, coords, {"duration_s": stop - start, "n_spikes": int(n.sum())})


def _counts(array: xr.DataArray) -> xr.Dataset:
    dim = space_dim(array)
    over = next(str(d) for d in array.dims if d not in SPACE_DIMS)
    array = array.transpose(*(d for d in array.dims if d not in (dim, over)), dim, over)
    values = array.to_numpy().astype("float64")
    lead = tuple(map(str, array.dims[:-1]))
    mean = values.mean(axis=-1)
    with np.errstate(invalid="ignore"):
        fano = values.var(axis=-1) / mean
    edges = np.linspace(0, values.shape[-1], min(N_BINS, values.shape[-1]) + 1).astype(int)
    level = np.add.reduceat(values, edges[:-1], axis=-1) / np.diff(edges)
    said = {"silent": (mean == 0).ravel()}
    result = xr.Dataset(
        {
            "mean": (lead, mean, {"units": "count"}),
            "fano": (lead, fano, {"units": "1"}),
            "maximum": (lead, values.max(axis=-1), {"units": "count"}),
            "level": ((*lead, "bin"), level, {"units": "count"}),
            "flag": (lead, _joined(said, mean.size).reshape(mean.shape)),
        },
        {k: v for k, v in array.coords.items() if set(v.dims) <= set(lead)},
        {"n_samples": values.shape[-1]},
    )
    place = array[over].to_numpy()[edges[:-1]] if over in array.coords else edges[:-1]
    return result.assign_coords(bin=("bin", place, {"units": "s" if over == "time" else "1"}))


def _findings(recording: xr.DataTree) -> xr.Dataset:
    found = validate(recording)
    columns = {
        name: ("finding", np.array([str(getattr(f, name) or "") for f in found], dtype=object).astype(str))
        for name in ("level", "code", "where", "problem", "found")
    }
    return xr.Dataset(columns)
