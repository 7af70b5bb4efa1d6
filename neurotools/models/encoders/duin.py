"""Du-IN: words from intracranial EEG through discrete codes of whole regions.

Contacts of one subject are mixed into a few shared channels, cut into segments of 100 ms, and each segment is
one token. Three networks share this front end and a transformer over tokens:

1. ``DuINVQVAE`` names each token by the nearest of K unit vectors and rebuilds the signal from the names:
   loss = mean_k (x - x')^2 + beta mean (z - code)^2.
2. ``DuINMAE`` hides half of the tokens, then the other half, and names the hidden ones.
3. ``DuINClassifier`` classifies the tokens of a trial.

Zheng et al. (2024), NeurIPS 37, "Du-IN: discrete units-guided mask modeling for decoding speech from
intracranial neural signals"; the codebook follows van den Oord et al. (2017), NeurIPS 30, appendix A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders.processes import of_the_first, sum_of_all


# ---- settings -----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class DuINSettings:
    """Sizes of the three networks; the defaults are those of the published ones.

    Parameters
    ----------
    n_subjects, n_channels, n_samples : int
        Subjects, contacts of each, and samples of one trial (3 s at 1 kHz).
    n_mixed, segment_samples : int
        Channels after mixing, and samples of one token.
    filters, kernels, strides : tuple of int
        Convolutions inside a segment.
    layers, decoder_layers, heads, head_width, feed_width : int
        The transformers over tokens; a ``feed_width`` of 0 means twice the width.
    n_codes, code_width : int
        The codebook.
    rebuild_filters, rebuild_kernels, rebuild_strides : tuple of int
        Transposed convolutions from tokens to samples.
    n_classes, class_width : int
        The classifier's outputs and hidden units.
    code_decay, commitment : float
        Share of the codebook that a step keeps, and weight of the distance to the code in the loss.
    restart_below : float
        Codes that name fewer tokens a step restart at tokens of that step; 0, as published, never.
    dropout : tuple of float
        Of attention, of its projection, and of the feed-forward network.
    """

    n_subjects: int = 1
    n_channels: int = 10
    n_samples: int = 3000
    n_mixed: int = 16
    segment_samples: int = 100
    filters: tuple[int, ...] = (128, 128, 16)
    kernels: tuple[int, ...] = (19, 3, 3)
    strides: tuple[int, ...] = (10, 1, 1)
    layers: int = 8
    decoder_layers: int = 4
    heads: int = 8
    head_width: int = 64
    feed_width: int = 0
    n_codes: int = 2048
    code_width: int = 64
    rebuild_filters: tuple[int, ...] = (128, 128, 128, 128, 16)
    rebuild_kernels: tuple[int, ...] = (3, 3, 10, 9, 19)
    rebuild_strides: tuple[int, ...] = (1, 1, 10, 1, 10)
    n_classes: int = 61
    class_width: int = 128
    code_decay: float = 0.99
    commitment: float = 1.0
    restart_below: float = 0.0
    dropout: tuple[float, float, float] = (0.2, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.n_samples % self.segment_samples:
            raise SettingsError(
                "a trial must be a whole number of segments",
                code="NT-SET-003",
                found=f"{self.n_samples} samples, segments of {self.segment_samples}",
            )
        for group in (
            ("filters", "kernels", "strides"),
            ("rebuild_filters", "rebuild_kernels", "rebuild_strides"),
        ):
            if len({len(getattr(self, name)) for name in group}) > 1:
                raise SettingsError(
                    f"{', '.join(group)} must have one entry for each layer", code="NT-SET-003"
                )

    @property
    def n_tokens(self) -> int:
        """Tokens of one trial."""
        return self.n_samples // self.segment_samples

    @property
    def width(self) -> int:
        """Numbers of one token: steps of a segment times the last filters."""
        steps = self.segment_samples
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            steps = (steps + 2 * ((kernel - 1) // 2) - kernel) // stride + 1
        return steps * self.filters[-1]


# ---- the front end: contacts to tokens --------------------------------------------------------------------
class SubjectMix(nn.Module):
    """A linear map between channels, one for each subject."""

    def __init__(self, n_subjects: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_subjects, n_in, n_out).uniform_(-1, 1) / n_in**0.5)
        self.bias = nn.Parameter(torch.zeros(n_subjects, n_out))

    def forward(
        self, x: Float[Tensor, "batch time from_channel"], subject: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time to_channel"]:
        """Mix the channels of each recording by its subject's map."""
        return torch.baddbmm(self.bias[subject][:, None], x, self.weight[subject])


class Tokenizer(nn.Module):
    """Convolutions inside each segment, normalised, with no activation between them."""

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        self.segment = settings.segment_samples
        sizes = (settings.n_mixed, *settings.filters)
        layers: list[nn.Module] = []
        for n_in, n_out, kernel, stride in zip(
            sizes, sizes[1:], settings.kernels, settings.strides, strict=False
        ):
            layers += [nn.Conv1d(n_in, n_out, kernel, stride, (kernel - 1) // 2), nn.BatchNorm1d(n_out)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "batch time channel"]) -> Float[Tensor, "batch token width"]:
        """One token for each segment, its steps one after the other."""
        segments = x.unflatten(1, (-1, self.segment))
        found = self.layers(segments.flatten(0, 1).transpose(1, 2))
        return found.transpose(1, 2).flatten(1).unflatten(0, segments.shape[:2])


class FrontEnd(nn.Module):
    """Contacts of any subject to tokens."""

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        self.settings = settings
        self.mix = SubjectMix(settings.n_subjects, settings.n_channels, settings.n_mixed)
        self.tokenizer = Tokenizer(settings)

    def forward(
        self, x: Float[Tensor, "batch time channel"], subject: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch token width"]:
        """Tokens of each trial."""
        needed = (self.settings.n_samples, self.settings.n_channels)
        if tuple(x.shape[1:]) != needed:
            raise SchemaError(
                "trials do not fit this network",
                code="NT-DATA-005",
                found=f"{x.shape[1]} samples, {x.shape[2]} channels",
                expected=f"{needed[0]} samples, {needed[1]} channels",
            )
        return self.tokenizer(self.mix(x, subject))


# ---- the transformer over tokens ---------------------------------------------------------------------------
class Transformer(nn.Module):
    """A code of time, then blocks over tokens."""

    time_code: Tensor

    def __init__(self, settings: DuINSettings, n_layers: int) -> None:
        super().__init__()
        self.register_buffer("time_code", sinusoids(settings.n_tokens, settings.width))
        self.blocks = nn.ModuleList(Block(settings, depth) for depth in range(n_layers))

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        """Contextual tokens."""
        x = tokens + self.time_code
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    """Attention and a network over the width, each added before it is normalised."""

    scale: Tensor

    def __init__(self, settings: DuINSettings, depth: int) -> None:
        super().__init__()
        width, inner = settings.width, settings.heads * settings.head_width
        feed = settings.feed_width or 2 * width
        self.heads = settings.heads
        self.share = settings.dropout[0]
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.norm_query, self.norm_key = nn.LayerNorm(settings.head_width), nn.LayerNorm(settings.head_width)
        self.out = nn.Linear(inner, width)
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, feed), nn.Linear(feed, width)
        self.dropout_out, self.dropout_feed = (nn.Dropout(share) for share in settings.dropout[1:])
        # part of the authors' files, where it is a tensor
        self.register_buffer("scale", torch.tensor(settings.head_width**-0.5))
        with torch.no_grad():
            for layer in (self.query, self.key, self.value, self.out, self.up, self.down):
                layer.weight /= (2 * (depth + 1)) ** 0.5

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        """One block."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(
            self.norm_query(q) * self.scale,
            self.norm_key(k),
            v,
            dropout_p=self.share if self.training else 0.0,
            scale=1.0,
        )
        x = self.norm_attention(x + self.dropout_out(self.out(mixed.transpose(1, 2).flatten(-2))))
        return self.norm_feed(x + self.dropout_feed(self.down(functional.relu(self.up(x)))))


def sinusoids(n_tokens: int, width: int) -> Float[Tensor, "token width"]:
    """Sines on even and cosines on odd columns, of wavelengths from 2 pi to 10,000 times that."""
    angle = torch.arange(n_tokens)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


# ---- the codebook ---------------------------------------------------------------------------------------
class Coded(NamedTuple):
    """Tokens rebuilt from their codes, the codes' numbers, and the distance that the loss takes."""

    tokens: Float[Tensor, "batch token width"]
    code: Int[Tensor, "batch token"]
    loss: Float[Tensor, ""]


class Codebook(nn.Module):
    """The nearest of K unit vectors, by cosine; gradients pass as if nothing had been rounded."""

    codes: Tensor
    counts: Tensor
    started: Tensor

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        self.decay, self.commitment = settings.code_decay, settings.commitment
        self.restart_below = settings.restart_below
        width, code_width = settings.width, settings.code_width
        self.inward = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, code_width))
        self.norm = nn.LayerNorm(code_width)
        self.outward = nn.Linear(code_width, width)
        self.register_buffer("codes", functional.normalize(torch.randn(settings.n_codes, code_width), dim=-1))
        self.register_buffer("counts", torch.zeros(settings.n_codes))
        self.register_buffer("started", torch.zeros(1))  # whether the codes were set from data

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Coded:
        """Rebuild tokens from their codes."""
        z = functional.normalize(self.inward(tokens), dim=-1)
        code = self.nearest(z)
        chosen = self.codes[code]
        loss = self.commitment * functional.mse_loss(z, chosen)
        passed = z + (chosen - z).detach()
        return Coded(self.outward(self.norm(passed)), code, loss)

    def nearest(self, z: Float[Tensor, "*batch code_width"]) -> Int[Tensor, "*batch"]:
        """Number of the code with the smallest distance; of unit vectors, the largest cosine."""
        return (z @ self.codes.T).argmax(-1)

    @torch.no_grad()
    def follow(self, tokens: Float[Tensor, "batch token width"]) -> None:
        """Count the codes in use, and move each towards the mean of the tokens it names.

        The published code counts in evaluation, too; here nothing changes unless this is called.
        """
        z = functional.normalize(self.inward(tokens), dim=-1).flatten(0, 1)
        code = self.nearest(z)
        used = sum_of_all(torch.bincount(code, minlength=len(self.codes)).to(z.dtype))
        self.counts.lerp_(used, 1 - self.decay)
        total = sum_of_all(torch.zeros_like(self.codes).index_add_(0, code, z))
        mean = functional.normalize(total, dim=-1)
        moved = functional.normalize(torch.lerp(self.codes, mean, 1 - self.decay), dim=-1)
        self.codes.copy_(torch.where(used[:, None] > 0, moved, self.codes))
        idle = self.counts < self.restart_below
        fresh = of_the_first(z[torch.randint(len(z), (len(self.codes),), device=z.device)])
        self.codes.copy_(torch.where(idle[:, None], fresh, self.codes))
        self.counts.masked_fill_(idle, 1.0)  # time to be found useful


# ---- stage 1: names for tokens --------------------------------------------------------------------------
class Rebuilt(NamedTuple):
    """The signal rebuilt from codes, the codes, and the two parts of the loss."""

    signal: Float[Tensor, "batch time channel"]
    code: Int[Tensor, "batch token"]
    signal_loss: Float[Tensor, ""]
    code_loss: Float[Tensor, ""]

    @property
    def loss(self) -> Float[Tensor, ""]:
        """What training minimises."""
        return self.signal_loss + self.code_loss


class DuINVQVAE(nn.Module):
    """Signal to codes and back."""

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        self.settings = settings
        self.front = FrontEnd(settings)
        self.encoder = Transformer(settings, settings.layers)
        self.codebook = Codebook(settings)
        self.decoder = Transformer(settings, settings.decoder_layers)
        self.rebuild = Rebuild(settings)
        self.unmix = SubjectMix(settings.n_subjects, settings.n_mixed, settings.n_channels)

    def forward(
        self,
        x: Float[Tensor, "batch time channel"],
        subject: Int[Tensor, " batch"],
        present: Bool[Tensor, "batch channel"] | None = None,
    ) -> Rebuilt:
        """Rebuild trials; channels that are not ``present`` do not enter the loss."""
        coded = self.codebook(self.encoder(self.front(x, subject)))
        signal = self.unmix(self.rebuild(self.decoder(coded.tokens)), subject)
        error = (signal - x).square().mean(1)
        weight = torch.ones_like(error) if present is None else present.to(error.dtype)
        return Rebuilt(signal, coded.code, (error * weight).sum() / weight.sum(), coded.loss)

    @torch.no_grad()
    def name(
        self, x: Float[Tensor, "batch time channel"], subject: Int[Tensor, " batch"]
    ) -> Int[Tensor, "batch token"]:
        """The code of each token."""
        return self.codebook(self.encoder(self.front(x, subject))).code


class Rebuild(nn.Module):
    """Transposed convolutions from tokens to samples; the first ones reach across tokens."""

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        sizes = (settings.width, *settings.rebuild_filters)
        layers: list[nn.Module] = []
        for n_in, n_out, kernel, stride in zip(
            sizes, sizes[1:], settings.rebuild_kernels, settings.rebuild_strides, strict=False
        ):
            extra = (kernel - stride) % 2
            padding = (kernel - stride + extra) // 2
            layers.append(nn.ConvTranspose1d(n_in, n_out, kernel, stride, padding, extra))
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(sizes[-1], settings.n_mixed)

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch time mixed"]:
        """Samples of the mixed channels."""
        return self.out(self.layers(tokens.transpose(1, 2)).transpose(1, 2))


# ---- stage 2: names of hidden tokens ----------------------------------------------------------------------
class DuINMAE(nn.Module):
    """Hide tokens, and predict their codes from the rest."""

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        self.settings = settings
        self.front = FrontEnd(settings)
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(settings.width), std=0.02))
        self.encoder = Transformer(settings, settings.layers)
        self.head = nn.Linear(settings.width, settings.n_codes)

    def forward(
        self,
        x: Float[Tensor, "batch time channel"],
        subject: Int[Tensor, " batch"],
        hidden: Bool[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token code"]:
        """Logits of the codes, each token's from the pass in which it was hidden.

        One pass hides ``hidden``, one hides all others; both run as one batch.
        """
        tokens = self.front(x, subject)
        both = torch.cat([self.hide(tokens, hidden), self.hide(tokens, ~hidden)])
        first, second = self.encoder(both).chunk(2)
        return self.head(torch.where(hidden[..., None], first, second))

    def hide(
        self, tokens: Float[Tensor, "batch token width"], hidden: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        """Put the mask token in place of hidden ones."""
        return torch.where(hidden[..., None], self.mask_token, tokens)


def hidden_by(noise: Float[Tensor, "batch token"], share: float) -> Bool[Tensor, "batch token"]:
    """Which tokens to hide: all but those with the smallest noise, the same number in each row."""
    n_visible = int(noise.shape[1] * (1 - share))
    hidden = torch.ones_like(noise, dtype=torch.bool)
    return hidden.scatter(1, noise.argsort(dim=1, stable=True)[:, :n_visible], value=False)


# ---- stage 3: words ---------------------------------------------------------------------------------------
class DuINClassifier(nn.Module):
    """All tokens of a trial, classified.

    The published network puts a sigmoid behind these logits and a cross-entropy behind the sigmoid, so that
    its loss cannot fall below log(1 + (n_classes - 1) / e), about 3.1 for 61 classes.
    """

    def __init__(self, settings: DuINSettings) -> None:
        super().__init__()
        self.settings = settings
        self.front = FrontEnd(settings)
        self.encoder = Transformer(settings, settings.layers)
        self.hidden = nn.Linear(settings.n_tokens * settings.width, settings.class_width)
        self.head = nn.Linear(settings.class_width, settings.n_classes)

    def forward(
        self, x: Float[Tensor, "batch time channel"], subject: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Logits of the classes."""
        tokens = self.encoder(self.front(x, subject))
        return self.head(functional.relu(self.hidden(tokens.flatten(1))))


# ---- names in the authors' files --------------------------------------------------------------------------
# (their name, ours, how the numbers change); an empty name of ours: known and left out
def transformer_names(theirs: str, ours: str) -> tuple[tuple[str, str, str], ...]:
    """Names of the blocks of one transformer."""
    block = rf"{theirs}\.1\.xfmr_blocks\.(\d+)\."
    pairs = (
        (r"mha\.W_q\.W\.(\w+)", "query"), (r"mha\.W_k\.W\.(\w+)", "key"), (r"mha\.W_v\.W\.(\w+)", "value"),
        (r"mha\.norm_q\.(\w+)", "norm_query"), (r"mha\.norm_k\.(\w+)", "norm_key"),
        (r"mha\.proj\.0\.(\w+)", "out"),
        (r"norm_mha\.(\w+)", "norm_attention"), (r"norm_ffn\.(\w+)", "norm_feed"),
        (r"ffn\.fc1\.0\.(\w+)", "up"), (r"ffn\.fc2\.0\.(\w+)", "down"),
    )  # fmt: skip
    scale = (block + r"mha\.attention\.scale", rf"{ours}.blocks.\1.scale", "same")
    return (scale, *((block + their, rf"{ours}.blocks.\1.{our}.\2", "same") for their, our in pairs))


FRONT_NAMES = (
    (r"subj_block\.subj_layer\.W\.weight", r"front.mix.weight", "by_subject"),
    (r"subj_block\.subj_layer\.B\.weight", r"front.mix.bias", "transposed"),
    (r"tokenizer\.conv_blocks\.0\.0\.1\.(\w+)", r"front.tokenizer.layers.0.\1", "same"),
    (r"tokenizer\.conv_blocks\.0\.1\.1\.(\w+)", r"front.tokenizer.layers.1.\1", "same"),
    (r"tokenizer\.conv_blocks\.1\.0\.1\.(\w+)", r"front.tokenizer.layers.2.\1", "same"),
    (r"tokenizer\.conv_blocks\.1\.1\.1\.(\w+)", r"front.tokenizer.layers.3.\1", "same"),
    (r"tokenizer\.conv_blocks\.2\.0\.1\.(\w+)", r"front.tokenizer.layers.4.\1", "same"),
    (r"tokenizer\.conv_blocks\.2\.1\.1\.(\w+)", r"front.tokenizer.layers.5.\1", "same"),
    *transformer_names("encoder", "encoder"),
)
CODEBOOK_NAMES = (
    (r"vq_block\.pre_proj\.(0|2)\.(\w+)", r"codebook.inward.\1.\2", "same"),
    (r"vq_block\.layernorm\.(\w+)", r"codebook.norm.\1", "same"),
    (r"vq_block\.post_proj\.0\.(\w+)", r"codebook.outward.\1", "same"),
    (r"vq_block\.codex\.embeddings", r"codebook.codes", "same"),
    (r"vq_block\.codex\.initted", r"codebook.started", "same"),
    (r"vq_block\.counts", r"codebook.counts", "same"),
)
VQVAE_NAMES = (
    *FRONT_NAMES,
    *CODEBOOK_NAMES,
    *transformer_names("decoder", "decoder"),
    # one code of time, which both transformers add
    (r"emb_time\.time_encodings", r"encoder.time_code decoder.time_code", "same"),
    (r"rgs_block\.rgs_head\.([0-4])\.0\.1\.(\w+)", r"rebuild.layers.\1.\2", "same"),
    (r"rgs_block\.rgs_head\.5\.0\.(\w+)", r"rebuild.out.\1", "same"),
    (r"desubj_block\.subj_layer\.W\.weight", r"unmix.weight", "by_subject"),
    (r"desubj_block\.subj_layer\.B\.weight", r"unmix.bias", "transposed"),
)
MAE_NAMES = (
    *FRONT_NAMES,
    (r"emb_time\.time_encodings", r"encoder.time_code", "same"),
    (r"mask_emb", r"mask_token", "same"),
    (r"cls_block\.cls_head\.0\.0\.(\w+)", r"head.\1", "same"),
)
CLASSIFIER_NAMES = (
    *FRONT_NAMES,
    (r"emb_time\.time_encodings", r"encoder.time_code", "same"),
    (r"cls_block\.cls_head\.1\.0\.(\w+)", r"hidden.\1", "same"),
    (r"cls_block\.cls_head\.2\.0\.(\w+)", r"head.\1", "same"),
    # leftovers of stage 1, and a contrastive part whose weight in the published loss is 0
    (r"vq_block\..+", r"", "unused"),
    (r"contra_block\..+", r"", "unused"),
)
