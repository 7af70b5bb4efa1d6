"""Two processes that share each batch make the steps that one makes alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from encoder_frame_cases import encoder, windows
from torch import nn

import neurotools as nt
from neurotools.errors import SettingsError
from neurotools.models.encoders import processes
from neurotools.models.encoders.folder import opened
from neurotools.models.encoders.training import Loop, Task, Training

TESTS = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from encoder_frame_cases import encoder, windows
model = encoder(encoder_dropout=0.0, dropout=0.0, feature_norm="none")
model.fit(windows(), out=Path(sys.argv[1]), groups="recording")
"""


def in_two_processes(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*torchrun, str(script), str(tmp_path / "two"), str(TESTS)],
        check=True, timeout=200, cwd=TESTS.parent, env=dict(os.environ, OMP_NUM_THREADS="1"),
    )  # fmt: skip
    return nt.encoders.open(tmp_path / "two")


def test_two_processes_equal_one_at_the_same_batch(tmp_path):
    model = encoder(encoder_dropout=0.0, dropout=0.0, feature_norm="none")
    one = model.fit(windows(), out=tmp_path / "one", groups="recording")
    two = in_two_processes(tmp_path)
    for name in ("loss", "held_out_loss"):
        np.testing.assert_allclose(one[name], two[name], rtol=2e-5, err_msg=name)
    assert (one["split"] == two["split"]).all()
    weights = [opened(fit).network.state_dict() for fit in (one, two)]
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], rtol=2e-3, atol=2e-5, err_msg=name)


def test_processes_and_parts_must_divide_the_batch(tmp_path):
    crew, nobody = processes.Crew(0, 3), np.arange(0)
    task = Task("t", nn.Linear(1, 1), lambda *_: {}, lambda _: None, nobody, nobody)
    with pytest.raises(SettingsError, match="must divide the batch"):
        Loop(task, Training(batch=4), tmp_path, seed=0, place=torch.device("cpu"), crew=crew)


def test_shared_normalisation_is_batch_normalisation_where_one_process_has_all(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        x = torch.randn(6, 3, 5, dtype=torch.float64, requires_grad=True)
        norms = [nn.BatchNorm1d(3, dtype=torch.float64) for _ in range(2)]
        processes.share_normalisation(nn.ModuleList(norms[1:]))
        found = []
        for norm in norms:
            nn.init.uniform_(norm.weight.requires_grad_(False), 0.5, 0.5)
            y = norm(x)
            (slope,) = torch.autograd.grad(y.square().sum() + y[0].sum(), x)
            found.append((y.detach(), slope, norm.running_mean, norm.running_var, norm.num_batches_tracked))
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        processes.plain_normalisation(nn.ModuleList(norms))
        assert {type(norm) for norm in norms} == {nn.BatchNorm1d}
    finally:
        dist.destroy_process_group()
