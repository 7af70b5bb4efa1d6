"""Masked autoencoding of dynamic connectivity: what hides in one window of fMRI, and what lies between two.

A window of region series is a graph: an edge joins two regions whose correlation in that window is among
the largest ``edge_share`` of all. A region's features are who it is and what the series up to the window's
end say (a recurrent time code); graph layers mix them along edges,

    h <- MLP(A h + eps h)                                            (with self-loops in A)

Two things are foretold. *Spatially*: some regions of a window are hidden, series, features and edges; from
the rest, a decoder foretells their edges and their correlations. *Temporally*: from two whole windows, those
of a window between them.

    loss = sum over both of  cross-entropy(edge_ij | z_i . z_j / sqrt(width)) + squared error of correlations

Choi, Keum, Yun, Kim & Lee (2023), TGL workshop at NeurIPS, arXiv 2312.01994; the graph encoder is that of
Kim, Ye & Kim (2021), NeurIPS 34 (STAGIN). No code of the former is public; what the paper leaves open (the
decoder, the target of a region) is decided here and said beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError, check_numbers

LEAST_VISIBLE = 2  # regions: one alone has no edge


# ---- settings -----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class STMAESettings:
    """Sizes of the network, and what is hidden from it.

    Parameters
    ----------
    n_regions : int
        Nodes of the graph; 0 takes those of the data.
    edge_share : float
        Of all pairs, self-loops among them: the largest correlations of a window are its edges.
    width, layers : int
        Numbers that describe a region, and graph layers.
    decoder_layers, heads : int
        Transformer blocks over regions that foretell what was hidden.
    hidden_share : float
        Of regions that are hidden in a window.
    temporal : float
        Weight of what lies between two windows; 0 leaves it out, and samples may be single windows.
    node_weight : float
        Weight of the correlations of a region, beside its edges.
    may_overlap : bool
        Whether windows may share samples with those they are foretold from; as published, and too easy.
    apart : int
        Windows from one to the next that shares no sample with it; ``fit`` sets it from the data.
    """

    n_regions: int = 0
    edge_share: float = 0.3
    width: int = 128
    layers: int = 4
    decoder_layers: int = 2
    heads: int = 4
    hidden_share: float = 0.3
    temporal: float = 1.0
    node_weight: float = 1.0
    may_overlap: bool = False
    apart: int = 1

    def __post_init__(self) -> None:
        check_numbers(
            self,
            n_regions=0,
            width=1,
            layers=1,
            decoder_layers=1,
            heads=1,
            temporal=0,
            node_weight=0,
            apart=1,
        )
        for name in ("edge_share", "hidden_share"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} is a share, between 0 and 1", found=getattr(self, name))
        if self.width % self.heads:
            raise SettingsError(
                "width must be a multiple of heads", code="NT-SET-003",
                found=f"width={self.width}, heads={self.heads}",
            )  # fmt: skip
        if self.n_regions and self.n_visible < LEAST_VISIBLE:
            raise SettingsError(
                "too few regions would be left to see", code="NT-SET-003",
                found=f"{self.n_visible} of {self.n_regions}", expected=f"at least {LEAST_VISIBLE}",
            )  # fmt: skip

    @property
    def n_hidden(self) -> int:
        """Regions that are hidden."""
        return max(1, round(self.hidden_share * self.n_regions))

    @property
    def n_visible(self) -> int:
        """Regions that are seen."""
        return self.n_regions - self.n_hidden


# ---- a window as a graph ----------------------------------------------------------------------------------
def correlation(x: Float[Tensor, "*batch region time"]) -> Float[Tensor, "*batch region region_to"]:
    """Correlations of regions in each window, in float32 whatever the precision around it."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        z = x - x.mean(-1, keepdim=True)
        z = z / z.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-12)
        found = (z @ z.transpose(-1, -2)).clamp(-1, 1)
        # rounding must not tell an edge from the same edge the other way round
        return 0.5 * (found + found.transpose(-1, -2))


def edges(
    matrix: Float[Tensor, "*batch region region_to"], share: float
) -> Bool[Tensor, "*batch region region_to"]:
    """Entries above the (100 - share) percentile of their own matrix, the diagonal among them.

    Between two entries the percentile is interpolated linearly, as NumPy does by default.
    """
    flat = matrix.flatten(-2)
    place = (1 - share) * (flat.shape[-1] - 1)
    below = int(place)
    low = flat.kthvalue(below + 1, dim=-1).values
    high = flat.kthvalue(min(below + 2, flat.shape[-1]), dim=-1).values
    limit = torch.lerp(low, high, place - below)
    return matrix > limit[..., None, None]


def between_regions(n: int, device: torch.device) -> Bool[Tensor, "region region_to"]:
    """Every pair once."""
    return torch.ones(n, n, dtype=torch.bool, device=device).triu(1)


# ---- the encoder: regions of one graph --------------------------------------------------------------------
class GraphLayer(nn.Module):
    """A graph isomorphism layer: neighbours are summed, and a network acts on the sum.

    Xu et al. (2019), ICLR, eq. 4.1, with the region's own weight left free.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.zeros(()))
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.first_norm, self.second_norm = nn.BatchNorm1d(width), nn.BatchNorm1d(width)

    def forward(
        self, h: Float[Tensor, "graph region width"], adjacency: Float[Tensor, "graph region region_to"]
    ) -> Float[Tensor, "graph region width"]:
        """One layer."""
        mixed = (adjacency @ h + self.own * h).flatten(0, 1)
        mixed = functional.relu(self.first_norm(self.first(mixed)))
        return functional.relu(self.second_norm(self.second(mixed))).unflatten(0, h.shape[:2])


class GraphEncoder(nn.Module):
    """From the series of some regions in a window to a vector for each of them."""

    def __init__(self, settings: STMAESettings) -> None:
        super().__init__()
        width = settings.width
        self.settings = settings
        self.clock = nn.GRU(settings.n_regions, width, batch_first=True)
        # one-hot identity and time code through one linear map, as published
        self.identity = nn.Parameter(torch.empty(settings.n_regions, width))
        self.from_clock = nn.Linear(width, width)
        self.layers = nn.ModuleList(GraphLayer(width) for _ in range(settings.layers))
        nn.init.uniform_(self.identity, -(width**-0.5), width**-0.5)

    def forward(
        self, x: Float[Tensor, "graph region time"], seen: Int[Tensor, "graph visible"] | None = None
    ) -> Float[Tensor, "graph visible width"]:
        """Vectors of the regions that are seen; all of them by default."""
        return self.all_layers(x, seen)[-1]

    def all_layers(
        self, x: Float[Tensor, "graph region time"], seen: Int[Tensor, "graph visible"] | None = None
    ) -> list[Tensor]:
        """Input of the first graph layer, and what each makes of it."""
        if x.shape[1] != self.settings.n_regions:
            raise SchemaError(
                "windows do not fit this network", code="NT-DATA-005", found=f"{x.shape[1]} regions",
                expected=f"{self.settings.n_regions} regions",
            )  # fmt: skip
        series, identity = x, self.identity.expand(len(x), -1, -1)
        if seen is not None:
            series, identity = taken(x, seen), taken(identity, seen)
            x = torch.zeros_like(x).scatter(1, seen[..., None].expand_as(series), series)
        h = identity + self.from_clock(self.time_code(x))[:, None]
        # hidden neighbours count as the mean of those seen, so that sums keep their size
        adjacency = edges(correlation(series), self.settings.edge_share) * (x.shape[1] / series.shape[1])
        found = [h]
        for layer in self.layers:
            found.append(layer(found[-1], adjacency))
        return found

    def time_code(self, x: Float[Tensor, "graph region time"]) -> Float[Tensor, "graph width"]:
        """What the series say up to the end of each window."""
        return self.clock(x.transpose(1, 2))[0][:, -1]


def taken(x: Float[Tensor, "graph region width"], which: Int[Tensor, "graph some"]) -> Tensor:
    """Rows of some regions, others in each graph."""
    return x.gather(1, which[..., None].expand(-1, -1, x.shape[-1]))


# ---- the decoder: what was hidden -------------------------------------------------------------------------
class Foretold(NamedTuple):
    """Of a graph that was not seen, or not whole."""

    edge_logit: Float[Tensor, "graph region region_to"]
    correlation: Float[Tensor, "graph region region_to"]


class Decoder(nn.Module):
    """Regions look at one another; then edges by inner products, and a row of correlations for each."""

    def __init__(self, settings: STMAESettings) -> None:
        super().__init__()
        width = settings.width
        self.identity = nn.Parameter(0.02 * torch.randn(settings.n_regions, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, settings.heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(settings.decoder_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.to_edges, self.to_rows = nn.Linear(width, width), nn.Linear(width, settings.n_regions)
        self.edge_bias = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: Float[Tensor, "graph region width"]) -> Foretold:
        """From what is known of each region to the graph."""
        h = tokens + self.identity
        for block in self.blocks:
            h = block(h)
        h = self.norm(h)
        z = self.to_edges(h)
        return Foretold(z @ z.transpose(-1, -2) * z.shape[-1] ** -0.5 + self.edge_bias, self.to_rows(h))


class STMAE(nn.Module):
    """Encoder, and one decoder for both tasks."""

    def __init__(self, settings: STMAESettings) -> None:
        super().__init__()
        width = settings.width
        self.settings = settings
        self.encoder, self.decoder = GraphEncoder(settings), Decoder(settings)
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.two, self.place = nn.Linear(2 * width, width), nn.Linear(1, width)

    def hidden_regions(
        self, x: Float[Tensor, "graph region time"], seen: Int[Tensor, "graph visible"]
    ) -> Foretold:
        """The whole graph from the regions that are seen: nothing else of the window enters."""
        known = self.encoder(x, seen)
        tokens = self.mask.expand(len(x), x.shape[1], -1)
        return self.decoder(tokens.scatter(1, seen[..., None].expand_as(known), known))

    def window_between(
        self,
        before: Float[Tensor, "graph region time"],
        after: Float[Tensor, "graph region time"],
        place: Float[Tensor, " graph"],
    ) -> Foretold:
        """The graph of a window that lies at ``place`` on the way (0 to 1) from one window to another."""
        both = torch.cat([self.encoder(before), self.encoder(after)], -1)
        return self.decoder(self.two(both) + self.place(place[:, None])[:, None])
