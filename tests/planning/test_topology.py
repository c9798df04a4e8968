"""Names of hardware, and the network between its chips."""

import types

import pytest

from bert_jax.errors import UserError
from bert_jax.planning.topology import GPU_MEMORY_VARIABLE, Topology, parse_topology


@pytest.mark.parametrize(
    ("text", "platform", "shape"),
    [
        ("v5e:16x16", "tpu", (16, 16)),
        ("v5e:1", "tpu", (1, 1)),
        ("V5E-64", "tpu", (8, 8)),
        ("v6e:8", "tpu", (2, 4)),
        ("v5p:2x2x1", "tpu", (2, 2, 1)),
        ("v4:4x4x4", "tpu", (4, 4, 4)),
        ("h100:1", "cuda", (1, 1)),
        ("h100:8", "cuda", (1, 8)),
        ("h200:16", "cuda", (2, 8)),
        ("a100:3x4", "cuda", (3, 4)),
        ("cpu:8", "cpu", (8,)),
    ],
)
def test_topologies_by_name(text, platform, shape):
    topology = parse_topology(text)
    assert (topology.platform, topology.shape) == (platform, shape)
    assert parse_topology(topology.name) == topology


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Use one such as v5e:4x4"),
        ("v5e", "Use one such as v5e:4x4"),
        ("h1000:8", "did you mean 'h100'?"),
        ("mi300:8", "known chips: v4, v5e"),
        ("v5e:5", "slices of v5e have 1, 4, 8"),
        ("v5p:8", "has 3 axes. Give its shape, as v5p:2x2x1"),
        ("v6e:2x2x2", "has 2 axes. Give its shape, as v6e:4x4"),
        ("v5e:0x4", "sizes must be positive"),
        ("h100:12", "a node has up to 8 GPUs"),
        ("h100:2x2x2", "give nodes x GPUs, as h100:2x8"),
        ("cpu:2x4", "give the number of CPU devices, as cpu:8"),
    ],
)
def test_a_wrong_topology_is_refused_with_the_way_out(text, message):
    with pytest.raises(UserError, match=message):
        parse_topology(text)


@pytest.mark.parametrize(("text", "extra"), [("v5e:2x2", "tpu"), ("h100:8", "gpu")])
def test_a_missing_compiler_names_the_extra(text, extra):
    """The tests' environment has neither."""
    with pytest.raises(
        UserError, match=rf"is not installed. Install the extra {extra}, as in pip install '\.\[{extra}"
    ):
        parse_topology(text).devices()


def at(*coords: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(coords=coords)


def test_a_tpu_sends_along_every_axis_of_a_group_and_both_ways_in_a_ring():
    pod, part = Topology("v5e", "tpu", (16, 16)), Topology("v5e", "tpu", (4, 8))
    link = pod.chip.link
    whole = [at(x, y, 0) for x in range(16) for y in range(16)]
    assert (pod.bandwidth(whole), pod.hops(whole)) == (4 * link, 16)
    assert (pod.bandwidth(whole[:16]), pod.hops(whole[:16])) == (2 * link, 8)
    assert (pod.bandwidth(whole[:5]), pod.hops(whole[:5])) == (link, 4)  # no ring
    line = [at(x, 0, 0) for x in range(4)]
    assert (part.bandwidth(line), part.hops(line)) == (link, 3)
    cube = Topology("v5p", "tpu", (4, 4, 8))
    assert cube.bandwidth([at(0, 0, z) for z in range(8)]) == 2 * cube.chip.link


def test_gpus_of_several_nodes_share_their_network_cards():
    pair = Topology("h100", "cuda", (2, 8))
    gpus = [types.SimpleNamespace(id=index) for index in range(16)]
    chip = pair.chip
    assert pair.bandwidth(gpus[:8]) == chip.link
    assert pair.bandwidth(gpus) == 8 * chip.network
    assert pair.bandwidth([gpus[0], gpus[8]]) == chip.network
    assert pair.hops(gpus) == 0


def test_usable_memory_is_what_jax_reserves(monkeypatch):
    monkeypatch.delenv(GPU_MEMORY_VARIABLE, raising=False)
    assert parse_topology("h100:1").usable_memory == 60e9
    monkeypatch.setenv(GPU_MEMORY_VARIABLE, "0.9")
    assert parse_topology("h100:1").usable_memory == pytest.approx(72e9, abs=1)
    assert parse_topology("v5e:1").usable_memory == int(15.75 * 2**30)
    assert parse_topology("cpu:2").usable_memory is None
