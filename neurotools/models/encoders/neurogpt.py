"""Neuro-GPT: an EEG conformer turns chunks of signal into features, and a GPT predicts the hidden ones.

A recording is S chunks of 2 s. The encoder makes one feature vector f_i of each chunk; for every i > 1 the
network sees f_1 .. f_{i-1} and a learned mask vector in place i, and predicts f_i:

    loss = mean_i || unembed(GPT(f_1, ..., f_{i-1}, mask)_i) - stop_gradient(f_i) ||^2 / n_features

The target is the encoder's own feature, so a constant encoder is a minimum too: watch the features' variance.
Cui et al. (2024), IEEE ISBI, "Neuro-GPT: towards a foundation model for EEG"; the encoder follows
Song et al. (2023), IEEE TNSRE 31, 710-719; the decoder Radford et al. (2019), GPT-2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError, lookup


# ---- settings -----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class NeuroGPTSettings:
    """Sizes of the network; the defaults are those of the published one (79.5 million parameters).

    Parameters
    ----------
    n_channels, chunk_samples : int
        EEG channels, and samples of one chunk (2 s at 250 Hz); 0 is a length that data will decide.
    n_filters, filter_samples : int
        Filters of the encoder and their length.
    pool_samples, pool_stride : int
        Average pooling over time; each pooled step is one patch.
    encoder_layers, encoder_heads : int
        Transformer blocks over the patches of one chunk.
    width, layers, heads, max_chunks : int
        The GPT over chunks: width, blocks, attention heads, and the longest sequence.
    feature_norm : {"none", "batch"}
        Of features before the GPT: as published, or each standardised over the batch, which keeps the
        encoder from becoming constant and gives the loss a scale.
    n_classes, n_chunks : int
        Of the classifiers only: classes, and chunks of one trial.
    encoder_dropout, dropout : float
        Share of activations set to zero in training, in the encoder and in the GPT.
    """

    n_channels: int = 22
    chunk_samples: int = 500
    n_filters: int = 40
    filter_samples: int = 25
    pool_samples: int = 75
    pool_stride: int = 15
    encoder_layers: int = 6
    encoder_heads: int = 10
    width: int = 1024
    layers: int = 6
    heads: int = 16
    max_chunks: int = 512
    feature_norm: str = "none"
    n_classes: int = 4
    n_chunks: int = 2
    encoder_dropout: float = 0.5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        lookup("norm of features", self.feature_norm, FEATURE_NORMS)
        for width, heads in (("n_filters", "encoder_heads"), ("width", "heads")):
            if getattr(self, width) % getattr(self, heads):
                raise SettingsError(
                    f"{width} must be a multiple of {heads}",
                    code="NT-SET-003",
                    found=f"{width}={getattr(self, width)}, {heads}={getattr(self, heads)}",
                )
        if self.chunk_samples and self.n_patches < 1:
            raise SettingsError(
                "a chunk is too short for one patch",
                code="NT-SET-003",
                found=f"{self.chunk_samples} samples",
                expected=f"at least {self.filter_samples + self.pool_samples - 1} samples",
            )

    @property
    def n_patches(self) -> int:
        """Patches of one chunk."""
        filtered = self.chunk_samples - self.filter_samples + 1
        return (filtered - self.pool_samples) // self.pool_stride + 1

    @property
    def n_features(self) -> int:
        """Numbers that describe one chunk: patches times filters."""
        return self.n_patches * self.n_filters


# ---- the encoder: one chunk of EEG to patches ---------------------------------------------------------
class Conformer(nn.Module):
    """Filters over time and channels, pooled to patches, then a transformer over the patches."""

    def __init__(self, settings: NeuroGPTSettings) -> None:
        super().__init__()
        width = settings.n_filters
        self.settings = settings
        self.temporal = nn.Conv2d(1, width, (1, settings.filter_samples))
        self.spatial = nn.Conv2d(width, width, (settings.n_channels, 1))
        self.norm = nn.BatchNorm1d(width)
        self.pool = nn.AvgPool1d(settings.pool_samples, settings.pool_stride)
        self.dropout = nn.Dropout(settings.encoder_dropout)
        self.project = nn.Conv1d(width, width, 1)
        self.blocks = nn.ModuleList(ConformerBlock(settings) for _ in range(settings.encoder_layers))

    def forward(self, chunks: Float[Tensor, "chunk channel sample"]) -> Float[Tensor, "chunk patch filter"]:
        """Features of each chunk, one row per patch."""
        patches = self.project(self.pooled(chunks)).transpose(-1, -2)
        for block in self.blocks:
            patches = block(patches)
        return patches

    def pooled(self, chunks: Float[Tensor, "chunk channel sample"]) -> Float[Tensor, "chunk filter patch"]:
        """Filtered, normalised and pooled signal."""
        needed = (self.settings.n_channels, self.settings.chunk_samples)
        if tuple(chunks.shape[-2:]) != needed:
            raise SchemaError(
                "chunks do not fit this network",
                code="NT-DATA-005",
                found=f"{chunks.shape[-2]} channels, {chunks.shape[-1]} samples",
                expected=f"{needed[0]} channels, {needed[1]} samples",
                fix="choose the channels and cut windows of this length with nt.windows",
            )
        kernel, bias = self.fused_filters()
        return self.dropout(self.pool(functional.elu(self.norm(functional.conv1d(chunks, kernel, bias)))))

    def fused_filters(self) -> tuple[Float[Tensor, "filter channel tap"], Float[Tensor, " filter"]]:
        """Both convolutions as one: nothing non-linear stands between them.

        Gradients reach the two factors through the product, so training is unchanged, too.
        """
        spatial, shift = self.spatial.weight[..., 0], cast(Tensor, self.spatial.bias)
        kernel = torch.einsum("omc,mt->oct", spatial, self.temporal.weight[:, 0, 0])
        return kernel, shift + spatial.sum(-1) @ cast(Tensor, self.temporal.bias)


class ConformerBlock(nn.Module):
    """Self-attention over patches, and a network over filters; each normalised before, added after."""

    def __init__(self, settings: NeuroGPTSettings) -> None:
        super().__init__()
        width = settings.n_filters
        self.heads, self.share = settings.encoder_heads, settings.encoder_dropout
        self.norm_attention = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm_feed = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(self.share)

    def forward(self, x: Float[Tensor, "chunk patch filter"]) -> Float[Tensor, "chunk patch filter"]:
        """One block."""
        h = self.norm_attention(x)
        q, k, v = (split(layer(h), self.heads) for layer in (self.query, self.key, self.value))
        # the published network divides by the root of the whole width, not of one head's
        mixed = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=self.share if self.training else 0.0, scale=x.shape[-1] ** -0.5
        )
        x = x + self.dropout(self.out(merge(mixed)))
        h = self.down(self.dropout(functional.gelu(self.up(self.norm_feed(x)))))
        return x + self.dropout(h)


# ---- the decoder: a GPT over chunks ---------------------------------------------------------------------
class GPT(nn.Module):
    """GPT-2 without a vocabulary: vectors in, vectors out."""

    def __init__(self, settings: NeuroGPTSettings) -> None:
        super().__init__()
        self.position = nn.Embedding(settings.max_chunks, settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(GPTBlock(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        position: Int[Tensor, " token"],
        visible: Bool[Tensor, "batch token token"],
    ) -> Float[Tensor, "batch token width"]:
        """Mix tokens; ``visible[b, i, j]`` says that token i sees token j."""
        x = self.dropout(tokens + self.position(position))
        for block in self.blocks:
            x = block(x, visible[:, None])
        return self.norm(x)


class GPTBlock(nn.Module):
    """Masked self-attention and a network over the width; each normalised before, added after."""

    def __init__(self, settings: NeuroGPTSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.share = settings.heads, settings.dropout
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(self.share)
        for layer in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        for layer in (self.out, self.down):
            with torch.no_grad():  # the sum of 2 layers branches then starts with the variance of one
                layer.weight /= (2 * settings.layers) ** 0.5

    def forward(
        self, x: Float[Tensor, "batch token width"], visible: Bool[Tensor, "batch 1 token token"]
    ) -> Float[Tensor, "batch token width"]:
        """One block."""
        q, k, v = (split(part, self.heads) for part in self.qkv(self.norm_attention(x)).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, dropout_p=self.share if self.training else 0.0
        )
        x = x + self.dropout(self.out(merge(mixed)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.norm_feed(x)), approximate="tanh")))


def split(x: Float[Tensor, "batch token width"], heads: int) -> Float[Tensor, "batch head token part"]:
    """Cut the width into heads."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge(x: Float[Tensor, "batch head token part"]) -> Float[Tensor, "batch token width"]:
    """Lay the heads side by side again."""
    return x.transpose(1, 2).flatten(-2)


# ---- the whole: features, tokens, predictions -----------------------------------------------------------
class NeuroGPTNetwork(nn.Module):
    """Encoder, embedding, GPT and the way back to features."""

    def __init__(self, settings: NeuroGPTSettings) -> None:
        super().__init__()
        features, width = settings.n_features, settings.width
        self.settings = settings
        self.encoder = Conformer(settings)
        self.norm_features = FEATURE_NORMS[settings.feature_norm](features)
        self.mask_feature = nn.Parameter(torch.randn(features))
        self.class_feature = nn.Parameter(torch.randn(features))
        self.embedding, self.embedding_norm = nn.Linear(features, width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(settings.dropout)
        self.gpt = GPT(settings)
        self.pooler = nn.Linear(width, width)
        self.unembedding = nn.Linear(width, features)

    def forward(
        self,
        chunks: Float[Tensor, "batch chunk channel sample"],
        present: Bool[Tensor, "batch chunk"] | None = None,
    ) -> Float[Tensor, "batch chunk width"]:
        """Contextual token of each chunk, given the chunks before it and itself; nothing is hidden."""
        features = self.features(chunks, present)
        return self.contextual(self.embed(features), present)

    def features(
        self,
        chunks: Float[Tensor, "batch chunk channel sample"],
        present: Bool[Tensor, "batch chunk"] | None = None,
    ) -> Float[Tensor, "batch chunk feature"]:
        """Features of each chunk; those of absent chunks are zero and do not enter the statistics."""
        if present is None:
            found = self.norm_features(self.encoder(chunks.flatten(0, 1)).flatten(-2))
            return found.unflatten(0, chunks.shape[:2])
        present = checked_present(chunks, present)
        found = self.norm_features(self.encoder(chunks[present]).flatten(-2))
        return found.new_zeros(*present.shape, found.shape[-1]).index_put((present,), found)

    def embed(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch width"]:
        """Features to tokens of the GPT; no activation follows the norm."""
        return self.dropout(self.embedding_norm(self.embedding(features)))

    def contextual(
        self, tokens: Float[Tensor, "batch chunk width"], present: Bool[Tensor, "batch chunk"] | None = None
    ) -> Float[Tensor, "batch chunk width"]:
        """The GPT over tokens that see themselves and what came before."""
        present = checked_present(tokens, present)
        n = self.checked_length(tokens.shape[1])
        causal = torch.ones(n, n, dtype=torch.bool, device=tokens.device).tril()
        return self.gpt(tokens, torch.arange(n, device=tokens.device), causal & present[:, None])

    def predict_hidden(
        self,
        features: Float[Tensor, "batch chunk feature"],
        present: Bool[Tensor, "batch chunk"] | None = None,
    ) -> Float[Tensor, "batch hidden feature"]:
        """Prediction of chunk i from chunks before i, for i = 2 .. S, in one pass.

        The published code copies each sequence S - 1 times, with one hidden chunk in each copy. Here S - 1
        content tokens see one another causally, and S - 1 mask tokens each see the content before them and
        themselves: the same numbers from 2 (S - 1) tokens in place of S (S - 1).
        """
        n_hidden = self.checked_length(features.shape[1]) - 1
        if n_hidden < 1 or (present is not None and not bool(present[:, 1:].any())):
            raise SchemaError(
                "no recording has a second chunk that could be hidden",
                code="NT-DATA-010",
                fix="cut longer stretches, so that each has two chunks at least",
            )
        present = checked_present(features, present)
        content = self.embed(features[:, :-1])
        mask = self.embed(self.mask_feature.expand(content.shape[0], n_hidden, -1))
        place = torch.arange(n_hidden, device=features.device)
        visible = two_streams(n_hidden, features.device)
        known = functional.pad(present[:, :-1], (0, n_hidden), value=True)
        mixed = self.gpt(
            torch.cat([content, mask], 1), torch.cat([place, place + 1]), visible & known[:, None]
        )
        return self.unembedding(mixed[:, n_hidden:])

    def loss(
        self,
        chunks: Float[Tensor, "batch chunk channel sample"],
        present: Bool[Tensor, "batch chunk"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error over hidden chunks and features; a longer recording counts for more."""
        features = self.features(chunks, present)
        error = self.predict_hidden(features, present) - features[:, 1:].detach()
        return (error if present is None else error[present[:, 1:]]).square().mean()

    def pooled(self, chunks: Float[Tensor, "batch chunk channel sample"]) -> Float[Tensor, "batch width"]:
        """One vector for a trial: the output of the class vector set after the last chunk."""
        mixed = self.contextual(self.embed(self.with_class(self.features(chunks))))
        return torch.tanh(self.pooler(mixed[:, -1]))

    def checked_length(self, n_chunks: int) -> int:
        """The number of chunks, if the network has that many positions."""
        if n_chunks > self.settings.max_chunks:
            raise SchemaError(
                "the sequence is longer than the network has positions for",
                code="NT-DATA-005",
                found=f"{n_chunks} chunks",
                expected=f"at most {self.settings.max_chunks}",
            )
        return n_chunks

    def with_class(
        self, features: Float[Tensor, "batch chunk feature"]
    ) -> Float[Tensor, "batch chunks_and_class feature"]:
        """Features with the class vector after the last chunk."""
        return torch.cat([features, self.class_feature.expand(features.shape[0], 1, -1)], 1)


FEATURE_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda n_features: nn.Identity(),
    "batch": lambda n_features: nn.BatchNorm1d(n_features, affine=False),
}


def two_streams(n_hidden: int, device: torch.device) -> Bool[Tensor, "token token"]:
    """Which token sees which, for n content tokens followed by n mask tokens."""
    causal = torch.ones(n_hidden, n_hidden, dtype=torch.bool, device=device).tril()
    own = torch.eye(n_hidden, dtype=torch.bool, device=device)
    # mask token i stands in place i + 1 and sees the content in places 0 .. i
    return torch.cat([torch.cat([causal, own & ~own], 1), torch.cat([causal, own], 1)])


def checked_present(x: Tensor, present: Tensor | None) -> Bool[Tensor, "batch chunk"]:
    """Which chunks there are: all by default, else ones that stand before the padding."""
    if present is None:
        return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    whole = present.shape == x.shape[:2] and bool(present[:, 0].all())
    if not whole or bool((present[:, 1:] & ~present[:, :-1]).any()):
        raise SchemaError(
            "present must say for each chunk that it is there, with padding only at the end",
            found=f"shape {tuple(present.shape)}",
            expected=f"shape {tuple(x.shape[:2])}, True in front and False behind",
        )
    return present


# ---- classifiers ----------------------------------------------------------------------------------------
def classifier_head(n_inputs: int, n_classes: int, dropout: float) -> nn.Sequential:
    """Two hidden layers and one output per class."""
    return nn.Sequential(
        nn.Linear(n_inputs, 256), nn.ELU(), nn.Dropout(dropout),
        nn.Linear(256, 32), nn.ELU(), nn.Dropout(dropout),
        nn.Linear(32, n_classes),
    )  # fmt: skip


class ConformerClassifier(nn.Module):
    """The encoder without the GPT: features of all chunks of a trial, classified."""

    def __init__(self, settings: NeuroGPTSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = Conformer(settings)
        self.head = classifier_head(settings.n_chunks * settings.n_features, settings.n_classes, 0.5)

    def forward(self, chunks: Float[Tensor, "batch chunk channel sample"]) -> Float[Tensor, "batch class"]:
        """Logits of the classes."""
        return self.head(self.encoder(chunks.flatten(0, 1)).reshape(len(chunks), -1))


class NeuroGPTClassifier(nn.Module):
    """Encoder and GPT: the output of the class vector, classified."""

    def __init__(self, settings: NeuroGPTSettings) -> None:
        super().__init__()
        self.settings = settings
        self.body = NeuroGPTNetwork(settings)
        self.head = classifier_head(settings.width, settings.n_classes, settings.dropout)

    def forward(self, chunks: Float[Tensor, "batch chunk channel sample"]) -> Float[Tensor, "batch class"]:
        """Logits of the classes."""
        return self.head(self.body.pooled(chunks))


# ---- names in the authors' files --------------------------------------------------------------------------
# (their name, ours, how the numbers change); an empty name of ours: known and left out
ENCODER_NAMES = (
    (r"encoder\.patch_embedding\.shallownet\.0\.(weight|bias)", r"encoder.temporal.\1", "same"),
    (r"encoder\.patch_embedding\.shallownet\.1\.(weight|bias)", r"encoder.spatial.\1", "same"),
    (r"encoder\.patch_embedding\.shallownet\.2\.(\w+)", r"encoder.norm.\1", "same"),
    (r"encoder\.patch_embedding\.projection\.0\.bias", r"encoder.project.bias", "same"),
    (r"encoder\.patch_embedding\.projection\.0\.weight", r"encoder.project.weight", "squeezed"),
    (r"encoder\.transformer\.(\d+)\.0\.fn\.0\.(\w+)", r"encoder.blocks.\1.norm_attention.\2", "same"),
    (r"encoder\.transformer\.(\d+)\.0\.fn\.1\.queries\.(\w+)", r"encoder.blocks.\1.query.\2", "same"),
    (r"encoder\.transformer\.(\d+)\.0\.fn\.1\.keys\.(\w+)", r"encoder.blocks.\1.key.\2", "same"),
    (r"encoder\.transformer\.(\d+)\.0\.fn\.1\.values\.(\w+)", r"encoder.blocks.\1.value.\2", "same"),
    (r"encoder\.transformer\.(\d+)\.0\.fn\.1\.projection\.(\w+)", r"encoder.blocks.\1.out.\2", "same"),
    (r"encoder\.transformer\.(\d+)\.1\.fn\.0\.(\w+)", r"encoder.blocks.\1.norm_feed.\2", "same"),
    (r"encoder\.transformer\.(\d+)\.1\.fn\.1\.0\.(\w+)", r"encoder.blocks.\1.up.\2", "same"),
    (r"encoder\.transformer\.(\d+)\.1\.fn\.1\.3\.(\w+)", r"encoder.blocks.\1.down.\2", "same"),
)
# GPT-2 stores weights as input x output
GPT_NAMES = (
    (r"embedder\.msk_embed", r"mask_feature", "flat"),
    (r"embedder\.cls_embed", r"class_feature", "flat"),
    (r"embedder\.embed_model\.model\.0\.(\w+)", r"embedding.\1", "same"),
    (r"embedder\.embed_model\.model\.1\.(\w+)", r"embedding_norm.\1", "same"),
    (r"decoder\.transformer\.wte\.weight", r"", "unused"),  # a vocabulary of one word: chunks are vectors
    (r"decoder\.transformer\.h\.(\d+)\.attn\.(masked_)?bias", r"", "unused"),  # the causal mask of old files
    (r"decoder\.transformer\.wpe\.weight", r"gpt.position.weight", "same"),
    (r"decoder\.transformer\.h\.(\d+)\.ln_1\.(\w+)", r"gpt.blocks.\1.norm_attention.\2", "same"),
    (r"decoder\.transformer\.h\.(\d+)\.ln_2\.(\w+)", r"gpt.blocks.\1.norm_feed.\2", "same"),
    (r"decoder\.transformer\.h\.(\d+)\.attn\.c_attn\.weight", r"gpt.blocks.\1.qkv.weight", "transposed"),
    (r"decoder\.transformer\.h\.(\d+)\.attn\.c_attn\.bias", r"gpt.blocks.\1.qkv.bias", "same"),
    (r"decoder\.transformer\.h\.(\d+)\.attn\.c_proj\.weight", r"gpt.blocks.\1.out.weight", "transposed"),
    (r"decoder\.transformer\.h\.(\d+)\.attn\.c_proj\.bias", r"gpt.blocks.\1.out.bias", "same"),
    (r"decoder\.transformer\.h\.(\d+)\.mlp\.c_fc\.weight", r"gpt.blocks.\1.up.weight", "transposed"),
    (r"decoder\.transformer\.h\.(\d+)\.mlp\.c_fc\.bias", r"gpt.blocks.\1.up.bias", "same"),
    (r"decoder\.transformer\.h\.(\d+)\.mlp\.c_proj\.weight", r"gpt.blocks.\1.down.weight", "transposed"),
    (r"decoder\.transformer\.h\.(\d+)\.mlp\.c_proj\.bias", r"gpt.blocks.\1.down.bias", "same"),
    (r"decoder\.transformer\.ln_f\.(\w+)", r"gpt.norm.\1", "same"),
    (r"decoder\.pooler_layer\.0\.(\w+)", r"pooler.\1", "same"),
    (r"unembedder\.model\.0\.(\w+)", r"unembedding.\1", "same"),
)
NETWORK_NAMES = (*ENCODER_NAMES, *GPT_NAMES)
CONFORMER_CLASSIFIER_NAMES = (
    *ENCODER_NAMES,
    (r"encoder\.fc\.fc\.(0|3)\.(\w+)", r"head.\1.\2", "same"),
    (r"encoder\.final_layer\.final_layer\.0\.(\w+)", r"head.6.\1", "same"),
)
CLASSIFIER_NAMES = (
    *((theirs, ours and f"body.{ours}", how) for theirs, ours, how in NETWORK_NAMES),
    (r"decoder\.decoding_head\.(0|3|6)\.(\w+)", r"head.\1.\2", "same"),
)
