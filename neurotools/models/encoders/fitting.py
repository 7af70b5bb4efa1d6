"""From windows to a checkpoint folder: without targets (``fit``), or with them (``finetune``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from neurotools.errors import ResultError, SchemaError, SettingsError
from neurotools.models.encoders import (
    batches,
    card,
    channels,
    data,
    folder,
    processes,
    reading,
    recipe,
    splits,
)
from neurotools.models.encoders.batches import Scale
from neurotools.models.encoders.checkpoint import SUMS
from neurotools.models.encoders.data import Data
from neurotools.models.encoders.heads import LOSSES, Headed, Sizes, pooled
from neurotools.models.encoders.published import published
from neurotools.models.encoders.recipe import Given, Recipe
from neurotools.models.encoders.states import State, forget
from neurotools.models.encoders.training import Task, place_of, train
from neurotools.provenance import settings_dict, stamp


@dataclass(frozen=True)
class Prepared:
    """Data with its split and scale."""

    data: Data
    side: np.ndarray
    scale: Scale
    preparation: dict[str, Any]
    told: str  # hash of all that decides the result


# ---- without targets ------------------------------------------------------------------------------------
def fit(encoder: Any, windows: Any, out: Path, groups: Any) -> xr.Dataset:
    """See ``Encoder.fit``."""
    plan = recipe.recipe_of(encoder.architecture)
    if not plan.stages:
        raise SettingsError(
            f"{encoder.architecture} has no objective without targets", code="NT-SET-003",
            fix="convert weights that there are, and finetune",
        )  # fmt: skip
    ready = prepared(encoder, windows, groups)
    if (done := finished(out, ready.told)) is not None:
        return done
    settings = plan.fitted(encoder.network, given(encoder, ready.data))
    network = recipe.build(plan, settings, encoder.seed)
    states = [pretrain(encoder, plan, network, ready, number=k, out=out) for k in range(len(plan.stages))]
    result = told_of([stage.name for stage in plan.stages], states, ready)
    result = stamp(result.assign_attrs(kind="pretrained", told=ready.told), "encoder", encoder)
    return written(encoder, network, ready, result, states, out=out)


def given(encoder: Any, found: Data) -> Given:
    """Sizes that the data decides."""
    step = round(splits.step_of(found.places) * found.sfreq)
    return Given(
        len(found.names), found.array.sizes["time"], found.sfreq, len(found.subjects), encoder.sequence, step,
        found.names,
    )  # fmt: skip


def prepared(encoder: Any, windows: Any, groups: Any) -> Prepared:
    """Windows, split and standardised by what may be seen."""
    found = data.for_fit(encoder, windows, groups)
    side = divided(found, encoder)
    stored = batches.pooled(found.moments, side == splits.TRAIN)
    scale = batches.scale_of(
        encoder.scale, found.moments, found.places.recording, np.array(found.names), stored
    )
    return Prepared(found, side, scale, preparation_of(encoder, found, stored), found.sha256(plain(encoder)))


def divided(found: Data, encoder: Any, label: np.ndarray | None = None) -> np.ndarray:
    """Sides of the split, checked for copies; where a published protocol is kept, as that has it."""
    if encoder.paper_compat:
        plan = published(encoder.architecture)
        side = plan.split(found.places, encoder.held_out, encoder.seed, label)
        if not plan.apart:
            return side
    else:
        side = splits.split(found.places, encoder.held_out, encoder.seed)
    if not recipe.recipe_of(encoder.architecture).repeats:
        splits.check_no_copies(found.moments.digest, side == splits.TRAIN, side == splits.HELD_OUT)
    return side


def plain(encoder: Any) -> dict[str, Any]:
    """Settings that decide the result; where and how many at once do not."""
    return {k: v for k, v in settings_dict(encoder).items() if k not in {"device", "at_once"}}


def preparation_of(encoder: Any, found: Data, stored: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """What windows must be, and how they are standardised, for ``preprocessing.json``."""
    return {
        "channels": list(found.names),
        "sfreq": found.sfreq,
        "n_times": found.array.sizes["time"],
        "units": found.array.attrs.get("units", ""),
        "scale": encoder.scale,
        "clip": encoder.clip,
        "shift": stored[0].tolist(),
        "width": stored[1].tolist(),
        "subjects": list(found.subjects) if recipe.recipe_of(encoder.architecture).by_subject else [],
        "history": found.array.attrs.get("history", "[]"),
    }


def pretrain(
    encoder: Any, plan: Recipe, network: nn.Module, ready: Prepared, *, number: int, out: Path
) -> State:
    """One stage."""
    stage, found = plan.stages[number], ready.data
    train_on = reading.samples_of(encoder, found, ready.side == splits.TRAIN, hop=1)
    watched = np.empty((0, encoder.sequence), dtype=int)
    if encoder.held_out:
        watched = reading.samples_of(encoder, found, ready.side == splits.HELD_OUT, hop=encoder.sequence)
    samples = np.concatenate([train_on, watched])
    numbers = np.arange(len(samples))
    return train(
        Task(
            title=f"{encoder.architecture}: {stage.name}", network=network, loss=stage.loss,
            batch=lambda which: found.batch(samples[which], ready.scale, encoder.clip),
            train=numbers[: len(train_on)], held_out=numbers[len(train_on) :],
            part=stage.part, begin=stage.begin, told=ready.told,
        ),
        encoder.training, beside(out) / f"{number + 1}-{stage.name}", seed=encoder.seed,
        device=encoder.device,
    )  # fmt: skip


def beside(out: Path) -> Path:
    """Where the state of an unfinished training lies."""
    return out.with_name(f"{out.name}.training")


def finished(out: Path, told: str) -> xr.Dataset | None:
    """What lies in the folder, if it is this very fit; another one is not touched."""
    if not out.exists():
        return None
    found = folder.open_folder(out) if (out / SUMS).is_file() else None
    if found is None or found.attrs.get("told") != told:
        raise ResultError(
            "the folder holds something else" if found is None else
            "the folder holds a fit of other windows or settings",
            code="NT-OUT-002", path=out, fix="name another folder, or remove this one",
        )  # fmt: skip
    return found


# ---- with targets -----------------------------------------------------------------------------------------
def finetune(
    encoder: Any, fit: xr.Dataset, windows: Any, *, target: str, out: Path, groups: Any
) -> xr.Dataset:
    """See ``Encoder.finetune``."""
    held = folder.opened(fit)
    mixes = encoder.on_mismatch == "learn"
    found = data.for_network(encoder, windows, held.preparation, groups, mixes)
    mixes = mixes and not same_channels(found, held.preparation)
    side = divided(found, encoder, reading.target_of(found, target))
    ready = Prepared(
        found, side, *scaled(encoder, prepared_as(encoder, held.preparation), found, side, mixes),
        found.sha256(plain(encoder), held.weights_sha256, target, reading.target_of(found, target).tolist()),
    )  # fmt: skip
    if (done := finished(out, ready.told)) is not None:
        return done
    words, truth = coded(reading.target_of(found, target), side == splits.TRAIN, target)
    network, words = headed(encoder, held, ready, words, mixes)
    state = train_head(encoder, network, ready, truth=truth, kind=words["kind"], out=out)
    result = told_of(["head"], [state], ready)
    if words["kind"] == "classes":
        result = result.assign_coords({"class": np.array(words["classes"])})
    result = result.assign_attrs(
        kind="finetuned", target=target, told=ready.told, body_sha256=held.weights_sha256
    )
    result = stamp(
        result.assign_attrs(held_out_score(encoder, network, held, ready, words)), "encoder", encoder
    )
    return written(encoder, network, ready, result, [state], out=out, target=words)


def prepared_as(encoder: Any, preparation: dict[str, Any]) -> dict[str, Any]:
    """How windows are standardised for a head: as for the encoder, unless a paper has it otherwise."""
    other = published(encoder.architecture).head_scale if encoder.paper_compat else None
    return {**preparation, "scale": other} if other else preparation


def same_channels(found: Data, preparation: Mapping[str, Any]) -> bool:
    """Whether the data has the very channels of the encoder, in its order."""
    return [*map(channels.plain, found.names)] == [*map(channels.plain, preparation["channels"])]


def scaled(
    encoder: Any, preparation: dict[str, Any], found: Data, side: np.ndarray, mixes: bool
) -> tuple[Scale, dict[str, Any]]:
    """The encoder's own scale; where channels are mixed anew, one by the windows that are trained on."""
    if not mixes:
        return reading.scale_for(preparation, found), preparation
    shift, width = batches.pooled(found.moments, side == splits.TRAIN)
    new = {**preparation, "channels": list(found.names), "shift": shift.tolist(), "width": width.tolist()}
    return reading.scale_for(new, found), new


def coded(values: np.ndarray, train_on: np.ndarray, name: str) -> tuple[dict[str, Any], Tensor]:
    """A target as numbers, and how to read them: classes, or a value in deviations."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise SchemaError("the target has missing values", code="NT-DATA-003", where=name)
        shift, width = float(values[train_on].mean()), float(values[train_on].std())
        words = {"name": name, "kind": "value", "shift": shift, "width": width or 1.0}
        return words, torch.from_numpy(((values - shift) / (width or 1.0)).astype("float32"))
    classes, number = np.unique(values.astype(str), return_inverse=True)
    if len(np.unique(number[train_on])) < max(2, len(classes)):
        raise SchemaError(
            "the windows that are trained on do not show every class", code="NT-DATA-010",
            where=name, found=", ".join(np.unique(values[train_on]).astype(str)),
            expected="at least two classes: " + ", ".join(classes),
            fix="hold out other groups (another seed, a smaller held_out), or choose groups=",
        )  # fmt: skip
    return {"name": name, "kind": "classes", "classes": classes.tolist()}, torch.from_numpy(number)


def headed(
    encoder: Any, held: folder.Opened, ready: Prepared, words: dict[str, Any], mixes: bool
) -> tuple[Headed, dict[str, Any]]:
    """The encoder with a head of random weights."""
    wanted, found = len(held.preparation["channels"]), ready.data
    with torch.inference_mode():
        x, subject = torch.zeros(1, wanted, found.array.sizes["time"]), torch.zeros(1, dtype=torch.int64)
        layer = pooled(held.recipe.layers(held.body, x, subject), encoder.head.layer, encoder.head.pool)
    n_outputs = len(words["classes"]) if words["kind"] == "classes" else 1
    sizes = Sizes(layer.shape[-1], n_outputs, wanted, len(found.names) if mixes else 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(encoder.seed)
        network = Headed(held.recipe, held.body.settings, encoder.head, sizes)
    network.body.load_state_dict(held.body.state_dict())
    if network.mix is not None:
        start = channels.first_mixing(found.array, held.preparation["channels"])
        network.mix.weight.data.copy_(torch.from_numpy(start))
    return network, {**words, "head": settings_dict(encoder.head), "sizes": sizes._asdict()}


def train_head(
    encoder: Any, network: Headed, ready: Prepared, *, truth: Tensor, kind: str, out: Path
) -> State:
    """The head, and the encoder unless it is frozen."""
    found, numbers = ready.data, np.arange(ready.data.n)
    return train(
        Task(
            title=f"{encoder.architecture}: head", network=network, loss=LOSSES[kind],
            batch=lambda which: found.batch(which, ready.scale, ready.preparation["clip"], truth),
            train=numbers[ready.side == splits.TRAIN], held_out=numbers[ready.side == splits.HELD_OUT],
            part="head" if encoder.head.freeze else "", told=ready.told,
        ),
        encoder.head.training, beside(out) / "head", seed=encoder.seed, device=encoder.device,
    )  # fmt: skip


def held_out_score(
    encoder: Any, network: Headed, held: folder.Opened, ready: Prepared, words: dict[str, Any]
) -> dict[str, float]:
    """The score of windows that were held out; they chose when to stop, which flatters it a little.

    Where a paper scores the windows that were trained on, that is told beside.
    """
    asked = {"held_out_score": splits.HELD_OUT}
    if encoder.paper_compat and published(encoder.architecture).scored_on_training:
        asked["published_test_score"] = splits.TRAIN
    new = folder.Opened(held.folder, held.architecture, held.recipe, network, ready.preparation, words, "")
    found = reading.said(new, ready.data, reading.outputs(encoder, new, ready.data, ready.scale))
    truth = reading.target_of(ready.data, words["name"])
    of = {name: ready.side == side for name, side in asked.items()}
    return {
        name: reading.compared(new, found.isel(window=mine), truth[mine])
        for name, mine in of.items()
        if mine.any()
    }


# ---- the result -------------------------------------------------------------------------------------------
def told_of(stages: Sequence[str], states: Sequence[State], ready: Prepared) -> xr.Dataset:
    """Curves of all stages end to end, and the split."""
    rows, stage, offset = [], [], 0
    for name, state in zip(stages, states, strict=True):
        rows += [{**row, "iteration": row["iteration"] + offset} for row in state.rows]
        stage += [name] * len(state.rows)
        offset = int(rows[-1]["iteration"]) if rows else offset
    names = list(dict.fromkeys(key for row in rows for key in row if key != "iteration"))
    curves = {
        name: ("iteration", np.array([row.get(name, np.nan) for row in rows], dtype="float64"))
        for name in names
    }
    where = {
        "split": ("window", ready.side),
        "group": ("window", ready.data.places.group),
        "digest": ("window", np.array(reading.hexadecimal(ready.data.moments.digest))),
    }
    return xr.Dataset(
        {**curves, **where},
        coords={
            "iteration": np.array([int(row["iteration"]) for row in rows]),
            "stage": ("iteration", np.array(stage, dtype=str)),
            "window": ready.data.array["window"].to_numpy()
            if "window" in ready.data.array.coords
            else np.arange(ready.data.n),
        },
        attrs={
            "group_unit": ready.data.places.unit,
            "best_iteration": int(states[-1].best_step),
            "n_windows": ready.data.n,
            "n_recordings": len(np.unique(ready.data.places.recording)),
            "data_sha256": ready.data.moments.sha256,
        },
    )


def written(
    encoder: Any,
    network: nn.Module,
    ready: Prepared,
    result: xr.Dataset,
    states: Sequence[State],
    *,
    out: Path,
    target: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """The folder, by the first process; the others wait for it."""
    with processes.joined(place_of(encoder.device)) as crew:
        if crew.first:
            processes.plain_normalisation(network.cpu().eval().requires_grad_(False))
            one = one_sample(encoder, network, ready)
            metrics = card.metrics_of(encoder, network, ready, result, states, loss=one)
            folder.write(
                out, encoder.architecture, network, preparation=ready.preparation, fit=result,
                metrics=metrics, card=card.card_of(encoder, ready, result, metrics), target=target,
            )  # fmt: skip
            forget(beside(out))
        crew.wait()
    return folder.open_folder(out)


def one_sample(encoder: Any, network: nn.Module, ready: Prepared) -> Callable[[], Any]:
    """The loss of the last stage for one sample, or what a head says of one window."""
    found, clip = ready.data, ready.preparation["clip"]
    if isinstance(network, Headed):
        first = found.batch(np.arange(1), ready.scale, clip)
        return lambda: network(first.x[:, 0], first.subject)
    which = reading.samples_of(encoder, found, ready.side == splits.TRAIN, hop=1)[:1]
    stage = recipe.recipe_of(encoder.architecture).stages[-1]
    return lambda: stage.loss(network, found.batch(which, ready.scale, clip))
