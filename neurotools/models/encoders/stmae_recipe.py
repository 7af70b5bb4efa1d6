"""How masked autoencoding of dynamic connectivity is trained and read: regions hidden, windows left out.

A sample is a sequence of windows that follow one another. One window of it is foretold twice: from those of
its regions that are seen, and from a window before and one after it that share no sample with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from neurotools.errors import SettingsError
from neurotools.models.encoders.recipe import Batch, Given, Parts, Recipe, Stage
from neurotools.models.encoders.stmae import (
    STMAE,
    Foretold,
    STMAESettings,
    between_regions,
    correlation,
    edges,
)


def fitted(settings: STMAESettings, given: Given) -> STMAESettings:
    """Regions as in the data; windows that overlap are taken so far apart that they do not."""
    apart = 1 if settings.may_overlap or not given.step else -(-given.n_times // given.step)
    if settings.temporal and given.sequence < 2 * apart + 1:
        raise SettingsError(
            "a sample is too short for a window between two others", code="NT-SET-003",
            found=f"sequence={given.sequence}; windows {apart} apart share no sample",
            expected=f"sequence={2 * apart + 1} or more",
            fix="cut windows with less overlap, or leave the task out with temporal=0",
        )  # fmt: skip
    return replace(settings, n_regions=given.n_channels, apart=apart)


class Draw(NamedTuple):
    """What is hidden from the network at one step."""

    between: Int[Tensor, " sample"]  # the window that is foretold
    before: Int[Tensor, " sample"]
    after: Int[Tensor, " sample"]
    seen: Int[Tensor, "sample visible"]

    @property
    def place(self) -> Float[Tensor, " sample"]:
        """Of the window, on the way from the one before to the one after."""
        return (self.between - self.before).float() / (self.after - self.before).clamp_min(1)


def drawn(settings: STMAESettings, batch: Batch) -> Draw:
    """Windows and regions by chance, every allowed choice as likely as any other of its kind."""
    n, length, device = len(batch.x), batch.x.shape[1], batch.x.device
    gap = settings.apart if settings.temporal else 0
    between = gap + whole(torch.rand(n, device=device), torch.full((n,), length - 2 * gap, device=device))
    before = whole(torch.rand(n, device=device), between - gap + 1)
    after = between + gap + whole(torch.rand(n, device=device), length - gap - between)
    order = torch.rand(n, settings.n_regions, device=device).argsort(-1)
    return Draw(between, before, after, order[:, : settings.n_visible].sort(-1).values)


def whole(share: Tensor, n: Tensor) -> Int[Tensor, " sample"]:
    """A number from 0 to below n for each share from 0 to below 1."""
    return (share * n).long().clamp_max(n - 1)


def hidden_pairs(settings: STMAESettings, seen: Tensor) -> Bool[Tensor, "sample region region_to"]:
    """Pairs of regions of which one at least is hidden, each once."""
    hidden = torch.ones(len(seen), settings.n_regions, dtype=torch.bool, device=seen.device)
    hidden.scatter_(1, seen, False)
    return (hidden[:, :, None] | hidden[:, None]) & between_regions(settings.n_regions, seen.device)


def hidden_graphs(network: STMAE, batch: Batch) -> Parts:
    """Both tasks on one window of each sample; areas under the curve tell edges from pairs without one."""
    settings, row = network.settings, torch.arange(len(batch.x), device=batch.x.device)
    what = drawn(settings, batch)
    x = batch.x[row, what.between]
    target = correlation(x)
    here = network.hidden_regions(x, what.seen)
    pairs = hidden_pairs(settings, what.seen)
    parts = told(here, target, pairs, settings.edge_share, "regions")
    loss = parts["regions_edges"] + settings.node_weight * parts["regions_correlations"]
    if settings.temporal:
        between = network.window_between(batch.x[row, what.before], batch.x[row, what.after], what.place)
        every = between_regions(settings.n_regions, x.device).expand_as(pairs)
        parts |= told(between, target, every, settings.edge_share, "window")
        other = parts["window_edges"] + settings.node_weight * parts["window_correlations"]
        loss = loss + settings.temporal * other
    return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}


def told(found: Foretold, target: Tensor, pairs: Tensor, share: float, name: str) -> Parts:
    """Cross-entropy of edges, error of correlations over their variance, and the area under the curve."""
    truth, logit = edges(target, share)[pairs], found.edge_logit.float()[pairs]
    wanted = target[pairs]
    error = (0.5 * (found.correlation + found.correlation.transpose(1, 2)).float()[pairs] - wanted).square()
    return {
        f"{name}_edges": functional.binary_cross_entropy_with_logits(logit, truth.float()),
        f"{name}_correlations": error.mean() / wanted.var().clamp_min(1e-6),
        f"{name}_auroc": area_under_curve(logit.detach(), truth),
    }


def area_under_curve(score: Float[Tensor, " pair"], truth: Bool[Tensor, " pair"]) -> Float[Tensor, ""]:
    """Share of (edge, no edge) that the scores put in the right order; ties count half."""
    values, place = score.double().unique(return_inverse=True)
    of_edges = torch.bincount(place[truth], minlength=len(values)).double()
    of_rest = torch.bincount(place[~truth], minlength=len(values)).double()
    won = (of_edges * (of_rest.cumsum(0) - 0.5 * of_rest)).sum()
    return (won / (of_edges.sum() * of_rest.sum())).float()


def layers(network: STMAE, x: Tensor, subject: Int[Tensor, " window"]) -> list[Tensor]:
    """Regions of each window, before the first graph layer and after each."""
    return network.encoder.all_layers(x)


STMAE_RECIPE = Recipe(
    settings=STMAESettings,
    network=STMAE,
    fitted=fitted,
    layers=layers,
    stages=(Stage("hidden_graphs", hidden_graphs),),
    sequence=True,
    summary="Masked autoencoding of dynamic connectivity after ST-MAE (Choi et al. 2023, TGL workshop at "
    "NeurIPS), with the graph encoder of STAGIN (Kim et al. 2021, NeurIPS), written from descriptions. No "
    "code of ST-MAE is public; STAGIN's authors' code is under GPL-3.0, and none of it is used here.",
)
