"""How Du-IN is trained and read: a codebook for tokens, then the codes of hidden tokens, in one recipe.

Stage 1 trains ``codes`` (signal to codes and back), stage 2 trains ``masked`` with the codes of stage 1 as
targets. The third stage, words, is ``finetune``: it takes front end and encoder from ``masked``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurotools.models.encoders.duin import (
    Codebook,
    DuINMAE,
    DuINSettings,
    DuINVQVAE,
    FrontEnd,
    Transformer,
    hidden_by,
)
from neurotools.models.encoders.recipe import Batch, Given, Parts, Recipe, Stage

HIDDEN_SHARE = 0.5
KMEANS_STEPS = 10


class DuIN(nn.Module):
    """Both networks of the self-supervised stages."""

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        self.settings = settings
        self.codes = DuINVQVAE(settings)
        self.masked = DuINMAE(settings)


def fitted(settings: DuINSettings, given: Given) -> DuINSettings:
    """Contacts, subjects and samples as in the data; the settings refuse a broken number of segments."""
    return replace(
        settings, n_channels=given.n_channels, n_samples=given.n_times, n_subjects=given.n_subjects
    )


def trials_of(batch: Batch) -> Float[Tensor, "trial time channel"]:
    """One window is one trial."""
    return batch.x.flatten(0, 1).transpose(1, 2)


# ---- stage 1 ------------------------------------------------------------------------------------------
def rebuild_signal(network: DuIN, batch: Batch) -> Parts:
    """Error of the rebuilt signal and distance to the codes, and how much of the codebook is in use.

    In training the codes then move towards the tokens they named.
    """
    stage, trials = network.codes, trials_of(batch)
    tokens = stage.encoder(stage.front(trials, batch.subject))
    coded = stage.codebook(tokens)
    built = stage.unmix(stage.rebuild(stage.decoder(coded.tokens)), batch.subject)
    signal_loss = (built - trials).float().square().mean()
    if stage.training:
        stage.codebook.follow(tokens.detach())
    used = torch.bincount(coded.code.flatten(), minlength=network.settings.n_codes).float()
    return {
        "loss": signal_loss + coded.loss.float(),
        "signal_loss": signal_loss.detach(),
        "code_loss": coded.loss.detach(),
        "codes_used": (used > 0).float().mean(),
        "perplexity": torch.special.entr(used / used.sum()).sum().exp(),
    }


def start_codes(network: DuIN, batch: Batch) -> None:
    """Set the codes to clusters of the first batch's tokens."""
    book = network.codes.codebook
    if not bool(book.started):
        with torch.no_grad():
            z = unit_tokens(network, batch).flatten(0, 1)
            book.codes.copy_(spherical_means(z, len(book.codes)))
            book.started.fill_(1)


def unit_tokens(network: DuIN, batch: Batch) -> Float[Tensor, "trial token width"]:
    """Tokens on the unit sphere, as the codebook sees them."""
    tokens = network.codes.encoder(network.codes.front(trials_of(batch), batch.subject))
    return functional.normalize(network.codes.codebook.inward(tokens), dim=-1)


def spherical_means(z: Float[Tensor, "token width"], n_codes: int) -> Float[Tensor, "code width"]:
    """k-means by cosine from tokens drawn at random; a code that names nothing stays where it is."""
    order = torch.randperm(len(z), device=z.device)
    # fewer tokens than codes: some are taken twice, a little apart
    chosen = z[order.repeat(-(-n_codes // len(z)))[:n_codes]]
    codes = functional.normalize(chosen + 1e-3 * torch.randn_like(chosen), dim=-1)
    for _ in range(KMEANS_STEPS):
        code = (z @ codes.T).argmax(-1)
        total = torch.zeros_like(codes).index_add_(0, code, z)
        found = functional.normalize(total, dim=-1)
        named = torch.bincount(code, minlength=n_codes) > 0
        codes = torch.where(named[:, None], found, codes)
    return codes


# ---- stage 2 ------------------------------------------------------------------------------------------
def name_hidden(network: DuIN, batch: Batch) -> Parts:
    """Cross-entropy of the codes, each token's predicted once, while it was hidden."""
    trials = trials_of(batch)
    code = network.codes.name(trials, batch.subject)
    hidden = hidden_by(torch.rand(code.shape, device=code.device), HIDDEN_SHARE)
    logits = network.masked(trials, batch.subject, hidden).float()
    most = torch.bincount(code.flatten(), minlength=network.settings.n_codes).max() / code.numel()
    return {
        "loss": functional.cross_entropy(logits.flatten(0, 1), code.flatten()),
        "top1": (logits.argmax(-1) == code).float().mean(),
        "most_frequent_code": most,
    }


# ---- reading ------------------------------------------------------------------------------------------
def through(
    front: FrontEnd, encoder: Transformer, x: Tensor, subject: Int[Tensor, " window"]
) -> list[Tensor]:
    """Tokens before the first block, and after each."""
    tokens = front(x.transpose(1, 2), subject) + encoder.time_code
    found = [tokens]
    for block in encoder.blocks:
        found.append(block(found[-1]))
    return found


def layers(network: DuIN, x: Tensor, subject: Int[Tensor, " window"]) -> list[Tensor]:
    """Of the masked stage."""
    return through(network.masked.front, network.masked.encoder, x, subject)


def layers_alone(network: DuINVQVAE | DuINMAE, x: Tensor, subject: Int[Tensor, " window"]) -> list[Tensor]:
    """Of one stage's network by itself, as converted weights come."""
    return through(network.front, network.encoder, x, subject)


def tokenizer(network: DuIN | DuINVQVAE) -> Mapping[str, Any]:
    """Size and use of the codebook; the codes themselves are among the weights."""
    book: Codebook = (network.codes if isinstance(network, DuIN) else network).codebook
    settings = network.settings
    return {
        "kind": "nearest of unit vectors, by cosine",
        "n_codes": settings.n_codes,
        "segment_samples": settings.segment_samples,
        "codes_in_use": int((book.counts > 0).sum()),
        "weights": "codebook.codes",
    }


SUMMARY = (
    "Du-IN (Zheng et al. 2024, NeurIPS 37), written from its description. The authors' code is under the MIT "
    "licence; no licence of their weights is known to us."
)
DUIN = Recipe(
    settings=DuINSettings, network=DuIN, fitted=fitted, layers=layers, summary=SUMMARY, by_subject=True,
    stages=(
        Stage("codes", rebuild_signal, part="codes", begin=start_codes),
        Stage("masked", name_hidden, part="masked"),
    ),
    foreign=("duin-mae", "duin-vqvae"), tokenizer=tokenizer,
)  # fmt: skip
DUIN_VQVAE = Recipe(
    settings=DuINSettings, network=DuINVQVAE, fitted=fitted, layers=layers_alone, summary=SUMMARY,
    by_subject=True, foreign=("duin-vqvae",), tokenizer=tokenizer,
)  # fmt: skip
DUIN_MAE = Recipe(
    settings=DuINSettings, network=DuINMAE, fitted=fitted, layers=layers_alone, summary=SUMMARY,
    by_subject=True, foreign=("duin-mae",),
)  # fmt: skip
