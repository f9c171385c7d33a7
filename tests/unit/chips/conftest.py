"""A bench for the chip stack: sends frames, waits, and hands back decoded answers."""

import msgspec
import numpy as np
import pytest
from bms._chips import Chips, Imd, Ivt

import bms.cells
import bms.packs
from bms.plant import chips as plant_chips
from bms.protocols import bq79616 as bq
from bms.protocols.bq79616 import BROADCAST, SINGLE, Read, Write

PACK = bms.packs.load("car_96s1p")
CELL = bms.cells.load(PACK.cell)

ERRORS = (
    *("cell_voltage_offset_v", "cell_voltage_gain_frac", "cell_voltage_noise_v"),
    *("temperature_offset_k", "temperature_noise_k", "pressure_offset_kpa", "pressure_noise_kpa"),
    *("current_offset_a", "current_gain_frac", "current_noise_a", "insulation_error_frac"),
)


def built(n=2, per_module=16, last=None, seed=1, ideal=True, **sensors):
    """(Chips, Ivt, Imd) for n modules; `ideal` takes every error away."""
    blocks = (n - 1) * per_module + (last or per_module)
    thermistors = tuple(b for b in PACK.sensors.temperature_blocks if b < per_module)
    topology = msgspec.structs.replace(PACK.topology, blocks=blocks, blocks_per_module=per_module)
    quiet = dict.fromkeys(ERRORS, 0.0)
    changed = (quiet if ideal else {}) | {"temperature_blocks": thermistors} | sensors
    pack = msgspec.structs.replace(
        PACK, topology=topology, sensors=msgspec.structs.replace(PACK.sensors, **changed)
    )
    parts = Chips(), Ivt(), Imd()
    plant_chips.fill(*(part.fields for part in parts), CELL, pack, seed=seed)
    if ideal:
        parts[0].fields["tsref_v"][:] = 5.0
        parts[1].fields["voltage_gain_frac"][0] = parts[1].fields["voltage_noise_v"][0] = 0.0
    for part in parts:
        part.init()
    return parts


class Bench:
    """A stack, the world it looks at, and a host that keeps time."""

    def __init__(self, n=2, **options):
        self.n, self.now_us = n, 0
        self.chips = built(n, **options)[0]
        self.fields = self.chips.fields
        self.volts = np.full(400, 3.7)
        self.degc = np.full(1200, 25.0)
        self.kpa = np.full(32, 1000.0)

    def step(self, data=b"", low_us=0, baud=1_000_000):
        out = self.chips.exchange(
            self.now_us, self.volts, self.degc, self.kpa, 25.0, data, low_us, baud
        )
        self.now_us += 1000
        return out

    def wait(self, ms):
        return b"".join(self.step() for _ in range(ms))

    def raw(self, data, ms=None):
        """Sends bytes and collects what comes back in the time n full answers take."""
        return self.step(data) + self.wait(3 + 2 * self.n if ms is None else ms)

    def write(self, register, *data, scope=BROADCAST, device=0):
        assert self.raw(bq.encode(Write(scope, register, bytes(data), device)), 1) == b""

    def read(self, register, count=1, scope=BROADCAST, device=0):
        """{device: data} of a read, in the order the answers came."""
        frames, rest = bq.split(self.raw(bq.encode(Read(scope, register, count, device))))
        assert rest == b""
        assert all(isinstance(f, bq.Response) and f.register == register for f in frames)
        return {f.device: f.data for f in frames}

    def one(self, register, count=1, device=0):
        return self.read(register, count, SINGLE, device)[device]

    def wake(self):
        self.step(low_us=2250)
        self.wait(13)
        self.write(0x309, 0x20, scope=SINGLE)
        self.wait(12 * self.n)

    def address(self, register=0x306, top=None):
        self.write(0x343, *[0] * 8)
        self.write(0x309, 0x01)
        for k in range(self.n):
            self.write(register, k)
        if self.n == 1:
            return self.write(0x308, 0x01, scope=SINGLE)
        self.write(0x308, 0x02)
        self.write(0x308, 0x00, scope=SINGLE)
        return self.write(0x308, 0x03, scope=SINGLE, device=self.n - 1 if top is None else top)

    def start(self, adc=True):
        """Everything a host does before it reads: wake, address, pins, clear, convert."""
        self.wake()
        self.address()
        self.write(0x00E, 0x12, 0x12, 0x12, 0x12)
        self.write(0x30A, 0x01)
        self.write(0x331, 0xFF, 0x7F)
        if adc:
            self.write(0x30D, 0x06)
        return self

    def cells(self, device=0):
        """Cell 1 first, in volts, None without a result."""
        return volts(self.one(0x568, 32, device))

    def bleeding(self):
        return np.flatnonzero(self.fields["bleed_on"]).tolist()


def counts(data):
    return [bq.signed(*data[k : k + 2]) for k in range(0, len(data), 2)]


def volts(data):
    return [None if c == bq.NO_RESULT else c * bq.CELL_STEP_V for c in reversed(counts(data))]


@pytest.fixture
def bench():
    """Makes a Bench."""
    return Bench


@pytest.fixture
def parts():
    """Makes (Chips, Ivt, Imd)."""
    return built
