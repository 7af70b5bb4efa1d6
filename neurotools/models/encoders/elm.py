"""ELM neuron: a recurrent cell that does the arithmetic of one cortical neuron with many synapses.

    s_t = exp(-dt / tau_s) s_{t-1} + relu(w) x_t                      traces of the synapses
    b_t = sum of s_t over the synapses of each branch
    d_t = 1.7159 tanh(2/3 MLP([b_t, kappa m_{t-1}])),                  kappa = exp(-dt / tau_m)
    m_t = kappa m_{t-1} + lambda (1 - kappa) d_t                       (version 1)
    m_t = kappa m_{t-1} + (1 - exp(-lambda dt / tau_m)) d_t            (version 2; the leak sits on b, not s)
    y_t = W m_t + c

Where all synapses of a branch share one time constant, leaks and sums change places: one trace for each
branch holds the same numbers as one for each synapse, and what reaches a branch is one matrix product.
Spieler et al. (2024), ICLR, "The expressive leaky memory neuron".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurotools.errors import SchemaError, SettingsError, lookup

SOMA_SCALE = 10.0  # the second output is the soma voltage above rest, in units of 10 mV


# ---- settings -----------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class ELMSettings:
    """Sizes and constants of the cell; the defaults are those of the published single-neuron models.

    Parameters
    ----------
    n_inputs, n_outputs, n_memory : int
        Input lines, outputs and memory units.
    n_branches, synapses_per_branch : int
        Branches of the dendrite and synapses on each.
    routing : {"none", "neuron", "random"}
        Which input reaches which synapse: the i-th reaches the i-th; overlapping windows over inputs whose
        excitatory and inhibitory halves are interleaved; or inputs drawn at random.
    version : {1, 2}
        Of the equations.
    activation : {"relu", "silu"}
    hidden_layers, hidden_width : int
        Of the network inside; a width of 0 means twice ``n_memory``.
    gain : float
        lambda, the reach of one update of the memory.
    memory_tau_min, memory_tau_max, synapse_tau, step : float
        Time constants and the width of one step, in ms.
    learn_memory_tau : bool
    """

    n_inputs: int = 1278
    n_outputs: int = 2
    n_memory: int = 100
    n_branches: int = 45
    synapses_per_branch: int = 100
    routing: str = "neuron"
    version: int = 1
    activation: str = "relu"
    hidden_layers: int = 1
    hidden_width: int = 0
    gain: float = 5.0
    memory_tau_min: float = 1.0
    memory_tau_max: float = 150.0
    synapse_tau: float = 5.0
    step: float = 1.0
    learn_memory_tau: bool = False

    def __post_init__(self) -> None:
        lookup("routing", self.routing, ROUTINGS)
        lookup("activation", self.activation, ACTIVATIONS)
        if self.version not in (1, 2):
            raise SettingsError("there are versions 1 and 2 of the equations", found=self.version)
        if self.routing == "none" and self.n_inputs != self.n_synapses:
            raise SettingsError(
                "without routing every input needs one synapse",
                code="NT-SET-003",
                found=f"{self.n_inputs} inputs, {self.n_synapses} synapses",
            )

    @property
    def n_synapses(self) -> int:
        """Synapses of the whole neuron."""
        return self.n_branches * self.synapses_per_branch

    @property
    def mlp_width(self) -> int:
        """Units of one hidden layer."""
        return self.hidden_width or 2 * self.n_memory


# ---- the cell -------------------------------------------------------------------------------------------
class ELMTrace(NamedTuple):
    """What the cell did: outputs, memory at every step, and the branches after the last."""

    output: Float[Tensor, "batch time output"]
    memory: Float[Tensor, "batch time memory"]
    branch: Float[Tensor, "batch branch"]


class ELMNetwork(nn.Module):
    """One ELM neuron, or a batch of copies that see different inputs."""

    trace_tau: Tensor
    source: Tensor  # which input reaches each synapse, and whether there is one; absent without routing
    valid: Tensor

    def __init__(self, settings: ELMSettings) -> None:
        super().__init__()
        self.settings = settings
        self.synapse_weight = nn.Parameter(torch.full((settings.n_synapses,), 0.5))
        n_traces = settings.n_synapses if settings.version == 1 else settings.n_branches
        self.register_buffer("trace_tau", torch.full((n_traces,), settings.synapse_tau))
        self.memory_tau = nn.Parameter(spread_taus(settings), requires_grad=settings.learn_memory_tau)
        if (route := ROUTINGS[settings.routing]) is not None:
            source, valid = route(settings)
            self.register_buffer("source", source)
            self.register_buffer("valid", valid)
        self.mlp = mlp(settings)
        self.readout = nn.Linear(settings.n_memory, settings.n_outputs)

    def forward(self, x: Float[Tensor, "batch time input"]) -> Float[Tensor, "batch time output"]:
        """Outputs at every step."""
        return self.run(x).output

    def run(self, x: Float[Tensor, "batch time input"]) -> ELMTrace:
        """Outputs, memory and branches, by the short way where it is exact."""
        self._check(x)
        tau = self.trace_tau.reshape(self.settings.n_branches, -1)
        if bool((tau == tau[:, :1]).all()):
            return self._remember(self._branches(x, tau[:, 0]))
        return self.run_by_synapse(x)

    def run_by_synapse(self, x: Float[Tensor, "batch time input"]) -> ELMTrace:
        """The same with one trace for each synapse, which also holds where their time constants differ."""
        self._check(x)
        settings = self.settings
        shape = (settings.n_branches, settings.synapses_per_branch)
        tau = self.trace_tau.reshape(settings.n_branches, -1)
        keep = torch.exp(-settings.step / tau).expand(shape)
        trace = x.new_zeros(len(x), *shape)
        branches = []
        for now in x.unbind(1):
            arriving = self.synapse_weight.relu() * self._at_synapses(now)
            trace = keep * trace + arriving.unflatten(-1, shape)
            branches.append(trace.sum(-1))
        return self._remember(torch.stack(branches, 1))

    def tau(self) -> Float[Tensor, " memory"]:
        """Time constants of the memory units, in ms."""
        low, high = self.settings.memory_tau_min, self.settings.memory_tau_max
        return low + (high - low) * torch.sigmoid(self.memory_tau)

    def input_matrix(self) -> Float[Tensor, "input branch"]:
        """Weight of every input at every branch, summed over the synapses between them."""
        settings = self.settings
        weight = self.synapse_weight.relu()
        source = torch.arange(settings.n_inputs, device=weight.device)
        if settings.routing != "none":
            source, weight = self.source, weight * self.valid
        branch = torch.arange(settings.n_branches, device=weight.device)
        place = source * settings.n_branches + branch.repeat_interleave(settings.synapses_per_branch)
        flat = weight.new_zeros(settings.n_inputs * settings.n_branches).index_add(0, place, weight)
        return flat.unflatten(0, (settings.n_inputs, settings.n_branches))

    def _check(self, x: Tensor) -> None:
        if x.shape[-1] != self.settings.n_inputs or x.shape[1] < 1:
            raise SchemaError(
                "the input does not fit this neuron",
                code="NT-DATA-005",
                found=f"{x.shape[-1]} lines, {x.shape[1]} steps",
                expected=f"{self.settings.n_inputs} lines, at least 1 step",
            )

    def _at_synapses(self, now: Float[Tensor, "batch input"]) -> Float[Tensor, "batch synapse"]:
        return now if self.settings.routing == "none" else now[:, self.source] * self.valid

    def _branches(self, x: Tensor, tau: Tensor) -> Float[Tensor, "batch time branch"]:
        return leaky_sum(x @ self.input_matrix(), self.settings.step / tau)

    def _remember(self, branch: Float[Tensor, "batch time branch"]) -> ELMTrace:
        settings, tau = self.settings, self.tau()
        keep = torch.exp(-settings.step / tau)
        reach = settings.gain * (1 - keep)
        if settings.version == 2:
            reach = 1 - torch.exp(-settings.gain * settings.step / tau)
        first, *between, last = (layer for layer in self.mlp if isinstance(layer, nn.Linear))
        to_branch, to_memory = first.weight.split([settings.n_branches, settings.n_memory], 1)
        # what the branches tell the first layer is known for all steps at once; constants move into weights
        known = torch.addmm(first.bias, branch.flatten(0, 1), to_branch.T).unflatten(0, branch.shape[:2])
        hidden = [(layer.bias, layer.weight.T) for layer in between]
        out_bias, out_weight = last.bias * (2 / 3), last.weight.T * (2 / 3)
        activation, reach = ACTIVATIONS[settings.activation](), 1.7159 * reach
        memory, steps = branch.new_zeros(len(branch), settings.n_memory), []
        for told in known.unbind(1):
            memory = memory * keep
            inside = activation(torch.addmm(told, memory, to_memory.T))
            for bias, weight in hidden:
                inside = activation(torch.addmm(bias, inside, weight))
            update = torch.tanh(torch.addmm(out_bias, inside, out_weight))
            memory = torch.addcmul(memory, update, reach)
            steps.append(memory)
        remembered = torch.stack(steps, 1)
        return ELMTrace(self.readout(remembered), remembered, branch[:, -1])


def leaky_sum(
    x: Float[Tensor, "batch time branch"], leak: Float[Tensor, " branch"], block: int = 32
) -> Float[Tensor, "batch time branch"]:
    """s_t = exp(-leak) s_{t-1} + x_t from s = 0, a block of steps at a time."""
    n_steps = x.shape[1]
    blocks = functional.pad(x, (0, 0, 0, -n_steps % block)).unflatten(1, (-1, block))
    step = torch.arange(block, device=x.device)
    age = (step[:, None] - step)[..., None]
    weight = torch.where(age >= 0, torch.exp(-leak * age.clamp(min=0)), 0.0)
    own = torch.einsum("bnjc,ijc->bnic", blocks, weight)
    fade = torch.exp(-leak * (step[:, None] + 1))
    before, sums = torch.zeros_like(x[:, 0]), []
    for inside in own.unbind(1):
        sums.append(inside + fade * before[:, None])
        before = sums[-1][:, -1]
    return torch.cat(sums, 1)[:, :n_steps]


def in_mv(output: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """Published outputs in units: probability of a spike, and soma voltage above -67.7 mV in mV."""
    return torch.stack([torch.sigmoid(output[..., 0]), output[..., 1] * SOMA_SCALE], -1)


# ---- parts --------------------------------------------------------------------------------------------
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}


def mlp(settings: ELMSettings) -> nn.Sequential:
    """The network from branches and memory to an update of the memory."""
    sizes = [settings.n_branches + settings.n_memory, *[settings.mlp_width] * settings.hidden_layers]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[settings.activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], settings.n_memory))


def spread_taus(settings: ELMSettings) -> Float[Tensor, " memory"]:
    """Logits of time constants that are evenly spaced on a logarithmic scale, strictly inside their range."""
    low, high = settings.memory_tau_min, settings.memory_tau_max
    tau = torch.linspace(math.log(low), math.log(high), settings.n_memory + 2)[1:-1].exp()
    return torch.logit((tau - low) / (high - low))


def neuron_routing(settings: ELMSettings) -> tuple[Int[Tensor, " synapse"], Bool[Tensor, " synapse"]]:
    """Overlapping windows over inputs whose two halves are interleaved; what reaches past the end is void."""
    n = settings.n_inputs
    stride = math.ceil(n / settings.n_branches)
    start = torch.arange(settings.n_branches)[:, None] * stride
    place = (start + torch.arange(settings.synapses_per_branch)).flatten()
    valid = place < n
    place = place.clamp(max=n - 1)
    return place // 2 + place % 2 * (n // 2), valid


def random_routing(settings: ELMSettings) -> tuple[Int[Tensor, " synapse"], Bool[Tensor, " synapse"]]:
    """Every synapse listens to one input drawn at random."""
    source = torch.randint(settings.n_inputs, (settings.n_synapses,))
    return source, torch.ones(settings.n_synapses, dtype=torch.bool)


Routing = Callable[[ELMSettings], tuple[Tensor, Tensor]]
ROUTINGS: dict[str, Routing | None] = {"none": None, "neuron": neuron_routing, "random": random_routing}


# ---- names in the authors' files --------------------------------------------------------------------------
def author_names(settings: ELMSettings) -> tuple[tuple[str, str, str], ...]:
    """(their name, ours, how the numbers change) for this version and routing."""
    routed = settings.routing != "none"  # else both tensors are there and empty
    return (
        (r"_proto_w_s", r"synapse_weight", "same"),
        (r"_proto_tau_m", r"memory_tau", "same"),
        (r"tau_s" if settings.version == 1 else r"tau_b", r"trace_tau", "same"),
        (r"input_to_synapse_indices", r"source" if routed else r"", "same" if routed else "empty"),
        (r"valid_indices_mask", r"valid" if routed else r"", "flags" if routed else "empty"),
        (r"mlp\.network\.(\d+)\.(\w+)", r"mlp.\1.\2", "same"),
        (r"w_y\.(\w+)", r"readout.\1", "same"),
    )
