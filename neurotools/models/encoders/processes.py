"""Several processes that train one network, as ``torchrun`` starts them; alone, everything here does nothing.

Each process takes its share of every batch. Gradients are averaged by DistributedDataParallel, and batch
normalisation spans the shares of all, so that two processes make the step that one would make alone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Crew:
    """The number of this process, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wrapped(self, step: nn.Module, place: torch.device) -> nn.Module:
        """The step with gradients averaged over processes."""
        if self.size == 1:
            return step
        ids = [place.index] if place.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            step, device_ids=ids, find_unused_parameters=True, broadcast_buffers=False
        )

    def quiet(self, step: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients are averaged after the last part of a batch, not before."""
        if self.size == 1 or last:
            return contextlib.nullcontext()
        assert isinstance(step, nn.parallel.DistributedDataParallel)
        return step.no_sync()

    def mean(self, value: float) -> float:
        """Mean over processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total) / self.size

    def of_first(self, values: dict[str, float]) -> dict[str, float]:
        """What the first process found, so that all decide alike."""
        if self.size == 1:
            return values
        told = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64)
        dist.broadcast(told, src=0)
        return dict(zip(sorted(values), told.tolist(), strict=True))

    def agree(self, network: nn.Module) -> None:
        """Give all processes the buffers of the first."""
        if self.size > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def joined(place: torch.device) -> Iterator[Crew]:
    """Join the other processes that ``torchrun`` started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Crew()
        return
    if not dist.is_initialized():
        # gloo beside nccl: single numbers are averaged on the host
        dist.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    yield Crew(dist.get_rank(), dist.get_world_size())


def sum_of_all(x: Tensor) -> Tensor:
    """Sum over processes of what has no gradient."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(x)
    return x


def of_the_first(x: Tensor) -> Tensor:
    """What the first process holds."""
    if dist.is_available() and dist.is_initialized():
        dist.broadcast(x, src=0)
    return x


class SumOver(torch.autograd.Function):
    """Sum over processes; the gradient of a sum is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Sum of what all processes hold."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        """The same of the gradients."""
        total = slopes[0].clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation with mean and variance over the shares of all processes.

    PyTorch's own works on GPUs alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over all axes but the second."""
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        n = x.numel() // x.shape[1] * dist.get_world_size()
        mean = SumOver.apply(x.sum(axes)) / n
        shape = [1, -1, *[1] * (x.ndim - 2)]
        centred = x - mean.view(shape)
        variance = SumOver.apply(centred.square().sum(axes)) / n
        self.follow(mean.detach(), variance.detach() * n / (n - 1))
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape) if self.affine else scaled

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum or 0.1)
        self.running_var.lerp_(variance, self.momentum or 0.1)
        self.num_batches_tracked.add_(1)


def share_normalisation(network: nn.Module) -> None:
    """Let batch normalisation span processes; the weights stay where they are."""
    for module in network.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = SharedBatchNorm


def plain_normalisation(network: nn.Module) -> None:
    """Undo ``share_normalisation`` once training is over."""
    for module in network.modules():
        if type(module) is SharedBatchNorm:
            object.__setattr__(module, "__class__", nn.BatchNorm1d)
