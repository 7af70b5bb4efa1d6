"""What cannot be right is refused by name, by every architecture alike: windows, checkpoints, weights."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from encoder_frame_cases import SMALL, encoder, suited, windows

import neurotools as nt
from neurotools.errors import FileError, ResultError, SchemaError
from neurotools.models.encoders import checkpoint


@pytest.fixture(scope="module", params=SMALL)
def case(request, tmp_path_factory):
    """Each architecture with a fit that tests only read."""
    name = request.param
    data = suited(name, windows(2, 6))
    model = encoder(name, steps=1)
    out = tmp_path_factory.mktemp(name) / "fit"
    return name, model, model.fit(data, out=out, groups="recording"), out


def broken(given, value):
    values = given.to_numpy().astype("float32")
    values[5, 1, 7] = value
    return given.copy(data=values)


def wide(given):
    """One channel more."""
    return windows(2, 6, n_channels=4).astype(given.dtype).assign_attrs(given.attrs)


WRONG_WINDOWS = {
    "rate": (lambda w: w.assign_attrs(sfreq=128.0), r"another sampling rate.*found: 128 Hz"),
    "length": (lambda w: w.isel(time=slice(0, 80)), r"another length.*found: 80 samples"),
    "missing channel": (lambda w: w.isel(channel=[0, 1]), r"missing: C4"),
    "extra channel": (wide, r"not wanted: PZ"),
    "NaN": (lambda w: broken(w, np.nan), r"missing or infinite.*window 5, channel CZ"),
    "infinite": (lambda w: broken(w, np.inf), r"missing or infinite"),
    "none": (lambda w: w.isel(window=slice(0, 0)), r"no windows|empty"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_WINDOWS)
def test_windows_that_do_not_fit_are_named(case, what):
    name, model, fit, _ = case
    change, said = WRONG_WINDOWS[what]
    given = change(suited(name, windows(2, 6)))
    with pytest.raises(SchemaError, match=f"(?s){said}"):
        model.transform(fit, given)
    if what in ("NaN", "infinite", "none"):
        with pytest.raises(SchemaError, match=f"(?s){said}"):
            model.fit(given, out="never")


def test_a_recording_that_is_too_short_is_named(case, tmp_path):
    name, model, _, _ = case
    with pytest.raises(SchemaError, match=r"too short|long enough for one sample|do not show|no windows"):
        model.fit(suited(name, windows(1, 1)), out=tmp_path / "fit")


def disguised(out, tmp_path, content):
    """A copy whose weights are something else, with sums that agree."""
    copy = shutil.copytree(out, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(content)
    lines = (copy / "SHA256SUMS").read_text().splitlines()
    lines = [
        f"{checkpoint.sha256(content)}  model.safetensors" if line.endswith("model.safetensors") else line
        for line in lines
    ]
    (copy / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    return copy


def archive(tmp_path):
    """What torch.save writes."""
    torch.save({"w": torch.zeros(2)}, tmp_path / "weights.pt")
    return (tmp_path / "weights.pt").read_bytes()


def test_weights_that_are_none_are_named(case, tmp_path):
    name, model, _, out = case
    given = suited(name, windows(2, 6))
    weights = (out / "model.safetensors").read_bytes()
    tensors = safetensors.torch.load(weights)
    fewer = safetensors.torch.save(dict([*tensors.items()][1:]))
    foreign = safetensors.torch.save({"layer.weight": torch.zeros(3, 3)})
    contents = {
        "pickled": pickle.dumps({"w": 1}), "archive": archive(tmp_path), "truncated": weights[:-20],
        "fewer": fewer, "foreign": foreign, "empty": b"",
    }  # fmt: skip
    for what, content in contents.items():
        place = tmp_path / what
        place.mkdir()
        copy = disguised(out, place, content)
        with pytest.raises((FileError, ResultError)) as caught:
            model.transform(nt.encoders.open(copy), given)
        if what in ("pickled", "archive"):
            assert caught.value.code == "NT-FILE-007"
            assert "a pickle can run code" in str(caught.value)
    copy = shutil.copytree(out, tmp_path / "cut")
    (copy / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(ResultError, match="missing or was changed"):
        nt.encoders.open(copy)
    with pytest.raises(FileError, match="no checkpoint"):
        nt.encoders.open(tmp_path)
