"""A small world round the firmware: the real chips, current sensor and insulation monitor, and a
pack so simple that a test can say what every cell shows. One `step` is a millisecond; the vehicle
asks every 10 ms, with end-to-end protection.

What a test changes: `volts` (each block), `degc` (surface of each cell), `kpa` (each module),
`load_a`, `mode`, `pins`, `mute_vcu`, `uart` (a function that sees and may change the bytes on their
way to the firmware) and so on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import bms.cells
import bms.packs
from bms import _chips, _firmware, spec
from bms.firmware import config
from bms.plant import chips as chips_build
from bms.protocols import request

STANDBY, DRIVE, CHARGE = 0, 1, 2
IGNITION, INTERLOCK, CRASH, OVERCURRENT, CHIP_FAULT = 1, 2, 4, 64, 128
HEATER_ON, COOLANT_FLOW, GAS, H2S = 256, 512, 1024, 2048
MAIN_PLUS, MAIN_MINUS, PRECHARGE, FUSE = 1, 2, 4, 8
STATES = (
    "init selftest standby precharge normal_drive normal_charge opening error latched asserted"
    " refused balancing service sleep"
)
STATE = {name: spec.state_number(name) for name in STATES.split()}


class Rig:
    def __init__(
        self,
        pack: str = "bench_16s1p",
        *,
        soc: float = 0.5,
        start_us: int = 5_000_000,
        seed: int = 1,
    ) -> None:
        self.pack = bms.packs.load(pack)
        self.cell = bms.cells.load(self.pack.cell)
        self.config = config.build(self.cell, self.pack)
        self.firmware = _firmware.Firmware(self.config, start_us)
        assert self.firmware.code == 0
        self.chips, self.ivt, self.imd = _chips.Chips(), _chips.Ivt(), _chips.Imd()
        chips_build.fill(
            self.chips.fields, self.ivt.fields, self.imd.fields, self.cell, self.pack, seed=seed
        )
        self.imd.fields["start_ms"][0] = 0
        self.imd.fields["period_ms"][0] = 100
        for device in (self.chips, self.ivt, self.imd):
            device.init()
        made = self.pack.topology
        self.blocks, self.modules = made.blocks, made.blocks // made.blocks_per_module
        at_rest = float(np.interp(soc, self.cell.electric.ocv_soc_frac, self.cell.electric.ocv_v))
        self.volts = np.full(self.blocks, at_rest)
        self.degc = np.full(self.blocks * made.parallel, 25.0)
        self.kpa = np.full(self.modules, 2000.0)
        self.insulation_kohm = 5000.0
        self.load_a, self.link_v = 0.0, 0.0
        self.mode, self.clear, self.service, self.mute_vcu = STANDBY, 0, 0, False
        self.balance, self.heat = 0, 1
        self.pins, self.supply_mv, self.can_state = IGNITION | INTERLOCK, 13_500, (0, 0)
        self.feedback: int | None = (
            None  # None: what the contactors do; else the pins, whatever they do
        )
        self.welded = 0
        self.ms, self.start_us = 0, start_us
        self.coils = 0
        self.heater, self.pump = 0, 0
        self.fuse_blown = False
        self.bytes_out, self.low_us = b"", 0
        self.uart: Callable[[bytes], bytes] = lambda data: data
        self.sensor: Callable[[list], list] = lambda frames: frames
        self.request: Callable[[bytes], bytes] = lambda data: data
        self.counter = 0
        self.operator = request.Sender(request.TEST_KEY)  # for its authority only
        self.authority: Callable[[bytes], bytes] = lambda data: data
        self.sent: list[tuple[int, int, bytes]] = []
        self.extra: list[tuple] = []
        self.log: list[bytes] | None = None

    @property
    def now_us(self) -> int:
        return self.start_us + 1000 * self.ms

    @property
    def closed(self) -> int:
        return self.coils | self.welded

    @property
    def current_a(self) -> float:
        return self.load_a if self.closed & 3 == 3 and not self.fuse_blown else 0.0

    def _link(self) -> float:
        """The link follows the pack or bleeds. Gives the precharge current."""
        pack_v, made = float(self.volts.sum()), self.pack.contactors
        if self.closed & 3 == 3:
            self.link_v = pack_v
        elif self.closed & 6 == 6:
            amps = (pack_v - self.link_v) / made.precharge_ohm
            self.link_v += amps * 1e-3 / made.link_capacity_f
            return amps
        else:
            self.link_v *= 1.0 - 1e-3 / (made.link_bleed_ohm * made.link_capacity_f)
        return 0.0

    def reset(self, cause: int = 0) -> None:
        """The control unit starts anew with its memory; chips, sensors and vehicle go on."""
        self.firmware = _firmware.Firmware(
            self.config, self.now_us, cause, self.firmware.nvm, bytes(16)
        )
        self.coils, self.bytes_out, self.low_us, self.sent = 0, b"", 0, []

    def vcu_frame(self) -> bytes:
        data = bytearray(8)
        data[1] = self.counter | self.mode << 4
        data[2] = self.clear | self.balance << 1 | self.heat << 2 | self.service << 3
        data[0] = _firmware.e2e(0x80, data)
        self.counter = (self.counter + 1) % 15
        return bytes(data)

    def authority_frames(self) -> list[tuple[int, int, bytes]]:
        asked = self.operator.frames(
            request.MODES[self.mode % 3], self.ms * 1e-3, clear=bool(self.clear),
            service=bool(self.service),
        )  # fmt: skip
        return [(0, identifier, self.authority(data)) for identifier, data in asked[1:]]

    def step(self) -> Rig:
        """One millisecond."""
        at = self.ms * 1000
        to_host = self.chips.exchange(
            at, self.volts, self.degc, self.kpa, 25.0, self.bytes_out, self.low_us
        )
        precharge_a = self._link()
        pack_v = float(self.volts.sum())
        frames = self.ivt.step(at, self.current_a + precharge_a, pack_v, self.link_v)
        frames += self.imd.step(at, self.insulation_kohm, pack_v)
        into = [(1, identifier, data) for identifier, data in self.sensor(frames)]
        if self.ms % 10 == 3 and not self.mute_vcu:
            into.append((0, 0x80, self.request(self.vcu_frame())))
            into += self.authority_frames()
        into += self.extra
        self.extra = []
        feedback = (self.closed << 3) if self.feedback is None else self.feedback
        fault = CHIP_FAULT if self.chips.fields["fault_line"][0] else 0
        fault |= (HEATER_ON if self.heater else 0) | (COOLANT_FLOW if self.pump else 0)
        self.ms += 1
        out = self.firmware.step(
            self.now_us,
            self.pins | feedback | fault,
            self.supply_mv,
            self.uart(to_host),
            into,
            self.can_state,
        )
        if self.log is not None:
            self.log.append(out.input_bytes())
        self.coils = out.pins & 7
        self.heater, self.pump = out.heater_pptt, out.pump_pptt
        self.fuse_blown |= bool(out.pins & FUSE)
        self.bytes_out, self.low_us = out.uart, out.low_us
        self.sent = out.frames
        for _bus, identifier, data in self.sent:
            self.operator.hear(identifier, data)
        return self

    def run(self, ms: int) -> Rig:
        for _ in range(ms):
            self.step()
        return self

    def until(self, condition: Callable[[], bool], within_ms: int) -> int:
        """Milliseconds until the condition holds; fails when it does not in time."""
        for k in range(within_ms):
            if condition():
                return k
            self.step()
        raise AssertionError(
            f"not within {within_ms} ms; state {self.state}, active {self.active()}"
        )

    def probe(self, name: str) -> int | float:
        return self.firmware.probes[name][0].item()

    @property
    def state(self) -> int:
        return int(self.probe("state"))

    def active(self) -> set[str]:
        """Names of active diagnoses."""
        words = self.firmware.probes["active_diagnoses"]
        per = spec.DIAGNOSES_A_PAGE
        return {
            spec.diagnosis_name(per * page + k)
            for page, word in enumerate(words)
            for k in range(per)
            if int(word) >> k & 1
        }

    def to_standby(self) -> Rig:
        self.until(lambda: self.state == STATE["standby"], 1000)
        return self.run(1100)

    def to_normal(self, mode: int = DRIVE) -> Rig:
        """Contactors closed, limits risen."""
        self.to_standby()
        self.mode = mode
        self.until(lambda: self.state in (STATE["normal_drive"], STATE["normal_charge"]), 1500)
        return self.run(500)
