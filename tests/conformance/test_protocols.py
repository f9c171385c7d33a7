"""Every wire protocol, found by discovery: vectors, round trip, sign, truncation, random input."""

import importlib
import pkgutil
import random
import time

import pytest

import bms.links
import bms.protocols
from bms.protocols import CanFrame, Malformed

MODULES = [
    importlib.import_module(f"{package.__name__}.{info.name}")
    for package in (bms.protocols, bms.links)
    for info in pkgutil.iter_modules(package.__path__)
]
SPEAKERS = [module for module in MODULES if hasattr(module, "MEDIUM")]
VECTORS = [(module, vector) for module in SPEAKERS for vector in module.VECTORS]

every_protocol = pytest.mark.parametrize(
    "module", SPEAKERS, ids=lambda m: m.__name__.split(".")[-1]
)
every_vector = pytest.mark.parametrize(
    ("module", "vector"),
    VECTORS,
    ids=[f"{m.__name__.split('.')[-1]}-{k}" for k, (m, _) in enumerate(VECTORS)],
)


def test_discovery_finds_the_protocols():
    known = {"bq79616", "ivts", "imd", "inverter", "elcon", "jbd", "daly", "jk", "pylontech"}
    assert known <= {module.__name__.split(".")[-1] for module in SPEAKERS}


@every_protocol
def test_protocol_declares_what_it_must(module):
    assert module.MEDIUM in ("serial", "can")
    assert module.__doc__ and len(module.VECTORS) >= 3
    assert all(vector.source for vector in module.VECTORS)
    if "current" in (module.__doc__ or "").lower():
        assert module.CURRENT_SIGN in (1, -1)


@every_vector
def test_vector_decodes_to_its_message_and_back(module, vector):
    assert module.decode(vector.wire) == vector.message
    assert module.encode(vector.message) == vector.wire


def cut(wire, n):
    return (
        CanFrame(wire.can_id, wire.data[:n], wire.extended)
        if isinstance(wire, CanFrame)
        else wire[:n]
    )


def payload(wire):
    return wire.data if isinstance(wire, CanFrame) else wire


@every_vector
def test_a_frame_cut_anywhere_is_malformed(module, vector):
    whole = getattr(module, "SHORT_FORMS", frozenset())
    for n in range(len(payload(vector.wire))):
        if module.MEDIUM == "can" and (vector.wire.can_id, n) in whole:
            continue
        result = module.decode(cut(vector.wire, n))
        assert isinstance(result, Malformed) and result.reason


@every_vector
def test_a_frame_that_is_too_long_is_malformed(module, vector):
    longer = payload(vector.wire) + b"\x00"
    wire = CanFrame(vector.wire.can_id, longer) if module.MEDIUM == "can" else longer
    assert isinstance(module.decode(wire), Malformed)


def random_wire(module, draw):
    """Half pure noise; half a known frame with some bytes changed, to reach the inner checks."""
    if draw.random() < 0.5:
        data = draw.randbytes(draw.randrange(0, 65 if module.MEDIUM == "serial" else 9))
        return CanFrame(draw.randrange(1 << 11), data) if module.MEDIUM == "can" else data
    wire = draw.choice(module.VECTORS).wire
    data = bytearray(payload(wire))
    for _ in range(draw.randrange(0, 3)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return (
        CanFrame(wire.can_id, bytes(data), draw.random() < 0.1)
        if module.MEDIUM == "can"
        else bytes(data)
    )


def good_ones(module, draw, count):
    """How many of `count` random wires are messages; those must come out again as they came in."""
    canonical = getattr(module, "canonical", bytes if module.MEDIUM == "serial" else lambda w: w)
    good = 0
    wires = [random_wire(module, draw) for _ in range(count)]
    begin = time.process_time()
    decoded = [module.decode(wire) for wire in wires]
    spent_s = time.process_time() - begin
    for wire, message in zip(wires, decoded, strict=True):
        if isinstance(message, Malformed):
            continue
        good += 1
        assert module.encode(message) == canonical(wire), wire
    assert spent_s < 1e-4 * count, f"{spent_s:.1f} s for {count} frames"
    return good


@every_protocol
def test_random_frames_never_raise_and_cost_little(module):
    seed = 20261122
    print("seed", seed)
    assert 0 < good_ones(module, random.Random(seed), 100_000) < 100_000


@pytest.mark.long("ten million frames for each protocol")
@pytest.mark.timeout(3600)
@every_protocol
def test_ten_million_random_frames_never_raise(module, seed):
    draw = random.Random(seed)
    for _ in range(100):
        assert 0 < good_ones(module, draw, 100_000) < 100_000
