"""Parts of Neuroformer that know nothing of its sizes: scales, codes of place and time, first weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

LONGEST_S = 10_000.0  # wavelength of the slowest sinusoid, over 2 pi


class Standard(nn.Module):
    """A number in deviations from its mean, both set from data before the first step."""

    shift: Tensor
    width: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(1))
        self.register_buffer("width", torch.ones(1))

    def forward(self, value: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Deviations."""
        return (value - self.shift) / self.width

    def back(self, deviation: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Numbers again."""
        return deviation * self.width + self.shift

    @torch.no_grad()
    def start(self, value: Float[Tensor, " batch"]) -> None:
        """Take mean and deviation from these values."""
        self.shift.copy_(value.mean())
        self.width.copy_(value.std(correction=0).clamp_min(1e-6))


BEHAVIOUR_NORMS: dict[str, Callable[[], nn.Module]] = {"standard": Standard, "layer": lambda: nn.LayerNorm(1)}
PREDICTED_NORMS: dict[str, Callable[[], nn.Module]] = {"standard": Standard, "layer": nn.Identity}


def waves(place: Float[Tensor, "*batch"], width: int) -> Float[Tensor, "*batch width"]:
    """Sines on even and cosines on odd columns, of wavelengths from 2 pi to 10,000 times that."""
    speed = LONGEST_S ** (-torch.arange(0, width, 2, device=place.device, dtype=place.dtype) / width)
    angle = place[..., None] * speed
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., :width]


def sinusoids_of(pieces: Float[Tensor, "batch time height breadth width"]) -> Tensor:
    """A third of the width for each axis."""
    part = -(-pieces.shape[-1] // 6) * 2
    codes = [
        waves(torch.arange(n, device=pieces.device, dtype=pieces.dtype), part) for n in pieces.shape[1:4]
    ]
    grid = [codes[0][:, None, None], codes[1][None, :, None], codes[2][None, None]]
    shape = (*pieces.shape[1:4], part)
    return torch.cat([code.expand(shape) for code in grid], -1)[..., : pieces.shape[-1]]


PLACES: dict[str, Callable[[Tensor], Tensor]] = {"none": torch.zeros_like, "sinusoid": sinusoids_of}


# ---- first weights -----------------------------------------------------------------------------------------
def small(module: nn.Module) -> None:
    """First weights: small, so that the sum of many branches begins near its input."""
    drawn(module, 0.02, 0.02)


def wide(module: nn.Module) -> None:
    """First weights: a layer keeps the size of what it is given."""
    drawn(module, module.in_features**-0.5 if isinstance(module, nn.Linear) else 0.0, 0.5)


def drawn(module: nn.Module, linear: float, embedding: float) -> None:
    """Normal weights of a deviation, and no bias."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=linear if isinstance(module, nn.Linear) else embedding)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


FIRST_WEIGHTS: dict[str, Callable[[nn.Module], None]] = {"small": small, "wide": wide}
