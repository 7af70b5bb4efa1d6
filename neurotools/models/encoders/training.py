"""The one training loop: AdamW, a schedule, clipping, and a state on disk that any step resumes from.

All chance of a step is drawn from (seed, step), so nothing but weights, the optimiser's two moments and the
step's number is needed to go on, and a run that was killed ends with the very numbers of one that was not.
Started by ``torchrun``, processes share each batch; normalisation then spans all of them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from neurotools.errors import DeviceError, SettingsError, check_numbers, lookup
from neurotools.models.encoders import processes, states
from neurotools.models.encoders.recipe import Batch, Parts, nothing
from neurotools.models.encoders.states import State
from neurotools.progress import working

WATCHED = "unexplained"  # chooses the best look where a loss has no scale of its own
NOT_FINITE = "the loss is not finite any more"


# ---- settings -----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    steps : int
        Optimiser steps of each stage.
    batch : int
        Samples of one step, over all processes and parts together.
    accumulate : int
        Parts that a batch is computed in, one after the other, where it does not fit into memory.
        Normalisation over a batch then spans one part.
    rate, final_rate : float
        Learning rate after warm-up and at the end.
    warmup : float
        Share of steps over which the rate rises from zero.
    schedule : {"cosine", "linear", "constant"}
        From ``rate`` to ``final_rate``.
    weight_decay : float
        Of matrices; biases, norms and other vectors have none.
    betas : tuple of two floats
        Of AdamW (Loshchilov and Hutter 2019, ICLR).
    clip : float
        Largest norm of the gradient; 0 clips nothing.
    check_every : int
        Steps between looks at the held-out loss.
    patience : int
        Looks without a better held-out loss after which a stage stops; 0 goes on to the end. Where something
        is held out, the weights of the best look are the result.
    keep_every : int
        Steps between states written to disk.
    precision : {"float32", "bfloat16"}
        Of matrix products; losses, norms and weights stay in float32.
    compile : bool
        Compile the step with torch.compile.
    """

    steps: int = 1000
    batch: int = 32
    accumulate: int = 1
    rate: float = 1e-3
    final_rate: float = 0.0
    warmup: float = 0.05
    schedule: str = "cosine"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    check_every: int = 50
    patience: int = 0
    keep_every: int = 200
    precision: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        lookup("schedule", self.schedule, SCHEDULES)
        lookup("precision", self.precision, PRECISIONS)
        check_numbers(self, steps=1, batch=1, accumulate=1, check_every=1, keep_every=1)
        if self.batch % self.accumulate:
            raise SettingsError(
                "a batch must be a whole number of parts", code="NT-SET-003",
                found=f"batch={self.batch}, accumulate={self.accumulate}",
            )  # fmt: skip

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        share = (step - rising) / max(1, self.steps - rising)
        return self.final_rate + (self.rate - self.final_rate) * SCHEDULES[self.schedule](share)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda share: 0.5 * (1 + math.cos(math.pi * share)),
    "linear": lambda share: 1 - share,
    "constant": lambda share: 1.0,
}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


# ---- what is trained --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Task:
    """A network, what its loss is, and samples by number.

    ``part`` names the part that learns; ``told`` is hashed into the state so that no other task resumes it.
    """

    title: str
    network: nn.Module
    loss: Callable[[Any, Batch], Parts]
    batch: Callable[[np.ndarray], Batch]
    train: np.ndarray
    held_out: np.ndarray
    part: str = ""
    begin: Callable[[Any, Batch], None] = nothing
    told: str = ""


class Step(nn.Module):
    """The loss as the forward pass of a module, as the wrappers for several processes want it."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network, self.loss = task.network, task.loss

    def forward(self, batch: Batch) -> Parts:
        """Numbers by name."""
        return self.loss(self.network, batch)


# ---- the loop ---------------------------------------------------------------------------------------------
def train(
    task: Task, how: Training, folder: Path, *, seed: int, device: str = "cpu", until: int | None = None
) -> State:
    """Train, or go on where the state in ``folder`` stands.

    Parameters
    ----------
    task : Task
        Its network is changed in place; at the end it holds the weights of the best look.
    how : Training
    folder : path
        For the state; what was kept there by another task is refused.
    seed : int
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``.
    until : int, optional
        Stop after this step with the state kept, as a kill would.

    Raises
    ------
    ResultError
        The state in the folder is of another task, or is incomplete.
    SettingsError
        Processes or parts do not divide the batch, or the loss is not finite any more.
    """
    place = place_of(device)
    with processes.joined(place) as crew, working(task.title) as show:
        loop = Loop(task, how, folder, seed=seed, place=place, crew=crew)
        loop.restore()
        while not loop.over(until):
            loop.advance()
            show(loop.state.step / how.steps, loop.standing())
        loop.finish()
        return loop.state


def place_of(device: str) -> torch.device:
    """The device that is meant; each process of a machine has its own GPU."""
    name = device.removeprefix("torch:").removeprefix("torch") or "cpu"
    name = {"auto": "cuda" if torch.cuda.is_available() else "cpu"}.get(name, name)
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(
            f"device {device!r} was asked for, and PyTorch finds no usable CUDA device",
            fix='pass device="cpu", or device="auto" to use a GPU only where there is one',
        )
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"there is no device {device!r}", expected="cpu, cuda, cuda:1 or auto") from error


class Loop:
    """One training: the optimiser, the state, and what is done at a step."""

    def __init__(
        self,
        task: Task,
        how: Training,
        folder: Path,
        *,
        seed: int,
        place: torch.device,
        crew: processes.Crew,
    ) -> None:
        if how.batch % (crew.size * how.accumulate):
            raise SettingsError(
                "processes and parts must divide the batch", code="NT-SET-003",
                found=f"batch={how.batch}, {crew.size} processes, accumulate={how.accumulate}",
            )  # fmt: skip
        self.task, self.how, self.folder, self.seed = task, how, Path(folder), seed
        self.place, self.crew, self.state = place, crew, State()
        if crew.size > 1:
            processes.share_normalisation(task.network)
        task.network.to(place)
        self.learning = learning_part(task)
        self.optimiser = optimiser_of(task.network, how)
        self.best: dict[str, Tensor] = {}
        step = Step(task)
        self.shared = crew.wrapped(cast(nn.Module, torch.compile(step)) if how.compile else step, place)
        self.sums: dict[str, float] = {}
        self.n_summed = 0

    # ---- one step ---------------------------------------------------------------------------------------
    def over(self, until: int | None) -> bool:
        """Whether there is no step left to make."""
        return self.state.done or self.state.step >= (self.how.steps if until is None else until)

    def advance(self) -> None:
        """One step, and the look or the state that is due after it."""
        begun, step = time.perf_counter(), self.state.step
        chosen = self.task.train[samples_at(step, len(self.task.train), self.how.batch, self.seed)]
        if step == 0:
            with self.chance(0, -1), torch.no_grad():
                self.task.begin(self.task.network, self.task.batch(chosen).to(self.place))
            self.crew.agree(self.task.network)
        self.descend(chosen, step)
        self.state.step += 1
        self.state.samples += len(chosen)
        if self.state.step % self.how.check_every == 0 or self.state.step == self.how.steps:
            self.look()
        self.state.seconds += time.perf_counter() - begun
        if self.state.step % self.how.keep_every == 0:
            self.keep()

    def descend(self, chosen: np.ndarray, step: int) -> None:
        """Gradients of all parts of this process's share of a batch, and the step they lead to."""
        rate = self.how.rate_at(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.learning.train()
        mine = np.split(chosen, self.how.accumulate)
        for k, part in enumerate(mine):
            last = k == len(mine) - 1
            batch = self.task.batch(part[self.crew.rank :: self.crew.size]).to(self.place)
            with self.chance(step, k), self.crew.quiet(self.shared, last), self.mixed():
                found = self.shared(batch)
                (found["loss"] / len(mine)).backward()
            for name, value in found.items():
                self.sums[name] = self.sums.get(name, 0.0) + float(value.detach()) / len(mine)
        self.n_summed += 1
        if self.how.clip:
            nn.utils.clip_grad_norm_(
                [p for p in self.learning.parameters() if p.grad is not None], self.how.clip
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def chance(self, step: int, part: int) -> Iterator[None]:
        """Draws that depend on seed, step, part and process alone."""
        devices = [self.place] if self.place.type == "cuda" else []
        words = np.random.SeedSequence([self.seed, step, part + 1, self.crew.rank]).generate_state(2)
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(words[0]) << 31 ^ int(words[1]))
            yield

    def mixed(self) -> contextlib.AbstractContextManager[Any]:
        """Matrix products in the precision that was asked for."""
        kind = PRECISIONS[self.how.precision]
        return torch.autocast(self.place.type, dtype=kind, enabled=kind != torch.float32)

    def standing(self) -> str:
        """Loss, learning rate and throughput in a few words."""
        state, how = self.state, self.how
        loss = self.sums["loss"] / self.n_summed if self.n_summed else state.rows[-1]["loss"]
        speed = state.samples / max(state.seconds, 1e-9)
        return f"loss {loss:.4g}, rate {how.rate_at(state.step - 1):.2g}, {speed:.3g} samples/s"

    # ---- looks --------------------------------------------------------------------------------------------
    def look(self) -> None:
        """Write down mean losses since the last look, and held-out ones; stop where they got no better."""
        state, step = self.state, self.state.step
        told = {name: self.crew.mean(total / self.n_summed) for name, total in self.sums.items()}
        self.sums, self.n_summed = {}, 0
        row = {"iteration": float(step), "rate": self.how.rate_at(step - 1), **told}
        if not math.isfinite(row["loss"]):
            raise SettingsError(
                NOT_FINITE, where=f"{self.task.title}, step {step}", found=row["loss"],
                fix="take a smaller rate, or clip gradients",
            )  # fmt: skip
        if len(self.task.held_out):
            held = self.crew.of_first(self.held_out_losses())
            row |= {f"held_out_{name}": value for name, value in held.items()}
            watched = held.get(WATCHED, held["loss"])
            if watched < state.best_loss:
                state.best_loss, state.best_step, state.waited = watched, step, 0
                self.best = {k: v.detach().clone() for k, v in self.task.network.state_dict().items()}
            else:
                state.waited += 1
            state.done = bool(self.how.patience) and state.waited >= self.how.patience
        state.rows.append(row)
        if self.crew.first:
            self.note({**row, "samples_per_s": state.samples / max(state.seconds, 1e-9)})

    @torch.no_grad()
    def held_out_losses(self) -> dict[str, float]:
        """Means over all held-out samples, with the same chance at every look."""
        self.task.network.eval()
        total: dict[str, float] = {}
        at_once = max(1, self.how.batch // self.how.accumulate)
        for first in range(0, len(self.task.held_out), at_once):
            chosen = self.task.held_out[first : first + at_once]
            with self.chance(-1 % 2**32, first), self.mixed():
                found = self.task.loss(self.task.network, self.task.batch(chosen).to(self.place))
            for name, value in found.items():
                total[name] = total.get(name, 0.0) + float(value) * len(chosen)
        return {name: value / len(self.task.held_out) for name, value in total.items()}

    def note(self, row: dict[str, float]) -> None:
        """One line of the log, for whoever watches."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"task": self.task.title, **row}) + "\n")

    # ---- the state on disk --------------------------------------------------------------------------------
    def keep(self) -> None:
        """Write weights, moments and numbers, whole or not at all."""
        if self.crew.first:
            notes = {"told": self.told, "sums": self.sums, "n_summed": self.n_summed, **asdict(self.state)}
            states.write(self.folder, self.task.network, self.optimiser, self.best, notes)

    @property
    def told(self) -> str:
        """What must be the same for a state to be gone on with."""
        return json.dumps([self.task.told, asdict(self.how), self.seed, self.task.title], default=list)

    def restore(self) -> None:
        """Go on from the state on disk, if there is one."""
        notes = states.read_notes(self.folder, self.told)
        if notes is None:
            return
        self.sums, self.n_summed = notes.pop("sums"), notes.pop("n_summed")
        self.state = State(**notes)
        self.best = states.read_tensors(self.folder, self.task.network, self.optimiser, self.place)

    def finish(self) -> None:
        """Keep the state; at the end take the best weights."""
        over = self.state.done or self.state.step >= self.how.steps
        self.state.done = over
        self.keep()
        if over and self.best:
            self.task.network.load_state_dict(self.best)
        self.task.network.eval()


def learning_part(task: Task) -> nn.Module:
    """The part that learns; everything else is held fixed and in evaluation mode."""
    task.network.eval().requires_grad_(False)
    return task.network.get_submodule(task.part).requires_grad_(True)


def optimiser_of(network: nn.Module, how: Training) -> torch.optim.AdamW:
    """AdamW with decay on matrices alone."""
    learned = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": how.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=how.rate, betas=how.betas)


def samples_at(step: int, n: int, batch: int, seed: int) -> np.ndarray:
    """Numbers of the samples of a step: each epoch a new order, batches across its edges."""
    place = np.arange(step * batch, (step + 1) * batch)
    order = {
        int(epoch): np.random.default_rng((seed, int(epoch))).permutation(n)
        for epoch in np.unique(place // n)
    }
    return np.array([order[int(k // n)][k % n] for k in place])
