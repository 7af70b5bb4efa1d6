"""The ELM neuron against the authors' 15 trained models, and its short way against the long one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from encoder_cases import arrays, elm_settings, loaded, worst
from safetensors.torch import load_file

from neurotools.errors import SchemaError, SettingsError
from neurotools.models.encoders import checkpoint, elm
from neurotools.models.encoders.elm import ELMSettings

PUBLISHED = [f"num_memory_{n}" for n in (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 75, 100)]
PUBLISHED.append("best_elm_neuron")
TINY = [(version, case) for version in ("v1", "v2") for case in (0, 1, 2)]
FORWARD = 1e-5
PRECISIONS = [torch.float32, torch.float64]
SMALL = ELMSettings(n_inputs=12, n_memory=5, n_branches=4, synapses_per_branch=6)


@pytest.fixture(scope="module")
def folder(shared):
    return shared("reference/elm")


@pytest.fixture(scope="module")
def recorded(folder):
    return arrays(folder / "outputs.npz")


@pytest.mark.parametrize("dtype", PRECISIONS, ids=["float32", "float64"])
@pytest.mark.parametrize("name", PUBLISHED)
@torch.no_grad()
def test_every_published_model_equals_the_recorded_one(folder, recorded, name, dtype):
    path = folder / "weights" / f"{name}.safetensors"
    network = loaded("elm", elm_settings(path.with_suffix(".json")), load_file(path), dtype)
    wanted = {key.split("/")[1]: value for key, value in recorded.items() if key.startswith(name + "/")}
    x = arrays(folder / "input.npz")["x"].to(dtype)
    done = network.run(x)
    found = {
        "y": done.output,
        "eval": elm.in_mv(done.output),
        "m_last": done.memory[:, -1],
        "m_first8_t100": done.memory[0, ::3, :8],
        "s_last_branchsum": done.branch,
        "tau_m": network.tau(),
    }
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        # outputs reach 17 and 170, time constants 150: the tolerance for order one holds relative to that
        large = float(wanted[key].abs().max()) > 1
        assert worst(f"{name} {key} {dtype}", value, wanted[key], relative=large) < FORWARD
    said = json.loads(path.with_suffix(".json").read_text())["model_stats"]["model_param_count"]
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == said


@pytest.mark.parametrize("dtype", PRECISIONS, ids=["float32", "float64"])
@pytest.mark.parametrize(("version", "case"), TINY)
@torch.no_grad()
def test_every_version_and_routing_equals_the_recorded_one(folder, version, case, dtype):
    path = folder / "tiny" / f"{version}_{case}.safetensors"
    io = arrays(folder / "tiny" / f"{version}_io.npz")
    network = loaded("elm", elm_settings(path.with_suffix(".json")), load_file(path), dtype)
    x, wanted = io[f"{case}/x"].to(dtype), io[f"{case}/y"]
    assert worst(f"{version}_{case} {dtype}", network(x), wanted) < FORWARD
    assert worst(f"{version}_{case} by synapse", network.run_by_synapse(x).output, wanted) < FORWARD


def literal(network, x):
    """The equations as they are written, one step and one synapse at a time."""
    settings, tau = network.settings, network.tau()
    keep = torch.exp(-settings.step / tau)
    leak = torch.exp(-settings.step / network.trace_tau)
    trace = x.new_zeros(len(x), len(leak))
    memory, outputs = x.new_zeros(len(x), settings.n_memory), []
    for t in range(x.shape[1]):
        arriving = network.synapse_weight.relu() * (x[:, t][:, network.source] * network.valid)
        if settings.version == 2:
            arriving = arriving.unflatten(1, (settings.n_branches, -1)).sum(-1)
        trace = leak * trace + arriving
        branch = trace.unflatten(1, (settings.n_branches, -1)).sum(-1)
        update = network.mlp(torch.cat([branch, keep * memory], 1))
        update = 1.7159 * torch.tanh(update * 2 / 3)
        if settings.version == 1:
            memory = keep * memory + settings.gain * (1 - keep) * update
        else:
            memory = keep * memory + (1 - torch.exp(-settings.gain * settings.step / tau)) * update
        outputs.append(network.readout(memory))
    return torch.stack(outputs, 1)


@torch.no_grad()
def test_the_short_way_equals_the_equations_for_a_thousand_steps(folder):
    path = folder / "weights" / "best_elm_neuron.safetensors"
    for dtype, tolerance in ((torch.float32, FORWARD), (torch.float64, 1e-11)):
        network = loaded("elm", elm_settings(path.with_suffix(".json")), load_file(path), dtype)
        x = arrays(folder / "input.npz")["x"].to(dtype).flatten(0, 1).repeat(2, 1)[None, :1000]
        wanted = literal(network, x)
        large = float(wanted.abs().max()) > 1
        assert worst(f"1000 steps {dtype}", network(x), wanted, relative=large) < tolerance


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("hidden_layers", [1, 3])
@torch.no_grad()
def test_both_ways_equal_the_equations(version, hidden_layers, rng):
    settings = replace(SMALL, version=version, hidden_layers=hidden_layers, step=0.5, gain=3.0)
    network = checkpoint.build("elm", settings).double()
    x = torch.from_numpy(rng.normal(size=(2, 70, 12)))
    for run in (network.run, network.run_by_synapse):
        torch.testing.assert_close(run(x).output, literal(network, x), rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_short_way_equals_one_trace_for_each_synapse(folder):
    path = folder / "weights" / "num_memory_100.safetensors"
    network = loaded("elm", elm_settings(path.with_suffix(".json")), load_file(path), torch.float64)
    x = arrays(folder / "input.npz")["x"][:, :60].double()
    for short, long in zip(network.run(x), network.run_by_synapse(x), strict=True):
        torch.testing.assert_close(short, long, rtol=0, atol=1e-11)


@pytest.mark.parametrize("n_steps", [1, 31, 32, 33, 100])
def test_a_leaky_sum_by_blocks_equals_one_step_at_a_time(n_steps, rng):
    x = torch.from_numpy(rng.normal(size=(2, n_steps, 3)))
    leak = torch.tensor([0.01, 0.2, 5.0], dtype=torch.float64)
    total, slow = torch.zeros(2, 3, dtype=torch.float64), []
    for now in x.unbind(1):
        total = torch.exp(-leak) * total + now
        slow.append(total)
    torch.testing.assert_close(elm.leaky_sum(x, leak), torch.stack(slow, 1), rtol=0, atol=1e-12)


@torch.no_grad()
def test_synapses_with_time_constants_of_their_own_take_the_long_way(rng):
    network = checkpoint.build("elm", SMALL).double()
    x = torch.from_numpy(rng.normal(size=(2, 20, 12)))
    before = network(x)
    network.trace_tau[0] = 50.0
    assert torch.equal(network(x), network.run_by_synapse(x).output)
    assert not torch.allclose(network(x), before)


def test_gradients_of_both_ways_are_equal(rng):
    network = checkpoint.build("elm", replace(SMALL, learn_memory_tau=True)).double()
    x = torch.from_numpy(rng.normal(size=(2, 20, 12)))
    slopes = []
    for run in (network.run, network.run_by_synapse):
        network.zero_grad()
        run(x).output.square().sum().backward()
        slopes.append([p.grad.clone() for p in network.parameters()])
        assert all(slope.any() for slope in slopes[-1])
    for short, long in zip(*slopes, strict=True):
        torch.testing.assert_close(short, long, rtol=1e-9, atol=1e-12)


def test_routing_by_windows_is_the_stored_one(folder):
    for path in (folder / "weights" / "num_memory_1.safetensors", folder / "tiny" / "v1_0.safetensors"):
        stored, made = load_file(path), elm.neuron_routing(elm_settings(path.with_suffix(".json")))
        assert torch.equal(made[0], stored["input_to_synapse_indices"])
        assert torch.equal(made[1], stored["valid_indices_mask"])


def test_time_constants_start_inside_their_range_and_the_future_does_not_count(rng):
    network = checkpoint.build("elm", SMALL).double()
    tau = network.tau().detach()
    assert tau.min() > 1.0
    assert tau.max() < 150.0
    ratio = (tau[1:] / tau[:-1]).log()
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-4, atol=0)
    x = torch.from_numpy(rng.normal(size=(1, 20, 12)))
    later = x.clone()
    later[:, 10:] = 0
    assert torch.equal(network(x)[:, :10], network(later)[:, :10])


def test_what_does_not_fit_is_refused():
    with pytest.raises(SchemaError, match="11 lines, 3 steps"):
        checkpoint.build("elm", SMALL)(torch.zeros(1, 3, 11))
    with pytest.raises(SettingsError, match="every input needs one synapse"):
        replace(SMALL, routing="none")
    with pytest.raises(SettingsError, match="no routing named 'neuronal'"):
        replace(SMALL, routing="neuronal")
    with pytest.raises(SettingsError, match="versions 1 and 2"):
        replace(SMALL, version=3)
