"""The firmware's side of the wires, stepped by hand: when it is on, what it hears and says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bms import _firmware, _realtime, cells, links, packs, spec
from bms.firmware import config, library

IO_INPUTS, IO_OUTPUTS = 0x0F0, 0x0F1
READY = 0b011  # ignition and interlock
SAFE = sum(1 << p.bit for p in spec.pins() if p.direction == "input" and p.safe)

COMMON = r"""
#include "ecu.h"
#include <string.h>
struct ecu { uint64_t steps; };
uint32_t ecu_abi(void) { return ECU_ABI; }
const char *ecu_version(void) { return "made up"; }
size_t ecu_size(void) { return sizeof(struct ecu); }
int ecu_init(ecu_t *e, const ecu_boot_t *boot) { (void)boot; e->steps = 0; return 0; }
"""

HANGING = (
    COMMON
    + r"""
void ecu_step(ecu_t *e, const ecu_in_t *in, ecu_out_t *out)
{
    (void)in;
    out->pins.digital = 1;
    out->can_count = 60000;                 /* beyond its bounds */
    out->uart[0].count = 60000;
    out->watchdog_kick = ++e->steps < 50;   /* then it forgets */
}
"""
)

REMEMBERING = (
    COMMON
    + r"""
/* Erases page 3, programs two patterns of which only common ones stay, reads, shows a byte. */
void ecu_step(ecu_t *e, const ecu_in_t *in, ecu_out_t *out)
{
    static const uint8_t ops[] = {ECU_NVM_ERASE, ECU_NVM_PROGRAM, ECU_NVM_PROGRAM, ECU_NVM_READ};
    out->watchdog_kick = true;
    if (in->nvm_done.op == ECU_NVM_READ) out->pins.digital = in->nvm_done.data[0];
    if ((e->steps != 0 && in->nvm_done.op == ECU_NVM_NONE) || e->steps >= sizeof ops) return;
    if (in->nvm_done.status != ECU_NVM_OK) return;
    out->nvm_want.op = ops[e->steps];
    out->nvm_want.page = 3;
    memset(out->nvm_want.data, e->steps == 1 ? 0x07 : 0x0E, ECU_NVM_PAGE);
    ++e->steps;
}
"""
)


class Rig:
    """A host on an in-process bus; `play` steps it, saying IoInputs every 10 ms if told to."""

    def __init__(self, api: int, configuration: bytes, bus: str) -> None:
        self.host = _realtime.Host(api, configuration, bytes(16))
        self.link, self.other = links.open(f"inproc:{bus}"), links.open(f"inproc:{bus}")
        address = self.link.lend()
        self.host.attach(links.api_address(), [address, address])
        self.io, self.ms = _realtime.IoModule(), 0
        self.server, path = _realtime.open_pty()
        self.client = _realtime.open_client(path, 0)
        self.frames: list[links.Frame] = []

    def plug_in(self) -> None:
        self.host.set_line(self.client, _realtime.PTY)

    def play(self, ms: int, *, speaks: bool = True) -> None:
        for _ in range(ms):
            if speaks and self.ms % 10 == 0:
                identifier, data = self.io.pack_inputs(READY, 13_500)
                self.other.send(links.Frame(identifier, data))
            self.ms += 1
            self.host.step(1_000_000 + 1000 * self.ms)
            while (frame := self.other.receive()) is not None:
                self.frames.append(frame)

    def fact(self, name: str) -> int:
        return int(self.host.parts["host"][name][0])

    @property
    def phase(self) -> str:
        return _realtime.HOST_PHASES[self.fact("phase")]

    def close(self) -> None:
        self.link.take_back()
        for link in (self.link, self.other):
            link.close()
        os.close(self.server)
        os.close(self.client)


@pytest.fixture
def rig() -> Iterator[Rig]:
    pack = packs.load("bench_16s1p")
    bytes_ = config.build(cells.load(pack.cell), pack)
    found = Rig(_firmware.api_address(), bytes_, "ecu-host")
    yield found
    found.close()


def test_it_is_off_until_the_io_module_spoke_and_the_port_is_there(rig: Rig) -> None:
    rig.play(100, speaks=False)
    assert rig.phase == "off"
    rig.play(100)
    assert rig.phase == "off", "no serial port yet"
    assert {f.id for f in rig.frames} <= {IO_OUTPUTS}
    rig.plug_in()
    rig.play(19)
    assert rig.phase == "booting"
    rig.play(2)
    assert (rig.phase, rig.fact("starts")) == ("running", 1)
    rig.play(200)
    assert (rig.fact("input_pins"), rig.fact("supply_mv")) == (READY, 13_500)
    assert {IO_OUTPUTS, 0x100, 0x101} <= {f.id for f in rig.frames}


def test_silence_means_safe_levels_and_then_no_supply(rig: Rig) -> None:
    rig.plug_in()
    rig.play(300)
    rig.play(60, speaks=False)
    assert (rig.fact("input_pins"), rig.fact("supply_mv")) == (SAFE, 0)
    assert rig.phase == "running"
    rig.play(500, speaks=False)
    assert (rig.phase, rig.fact("output_pins"), rig.fact("power_losses")) == ("off", 0, 1)
    rig.play(100)
    assert (rig.phase, rig.fact("starts"), rig.fact("reset_cause")) == ("running", 2, 2)


def test_io_outputs_come_once_every_10_ms_with_an_unbroken_counter(rig: Rig) -> None:
    rig.plug_in()
    rig.play(1000)
    sent = [f.data for f in rig.frames if f.id == IO_OUTPUTS]
    assert 95 <= len(sent) <= 105
    checker, good = _realtime.IoModule(), 0
    for data in sent:
        good += checker.take_outputs(0, IO_OUTPUTS, bytes(data))
    assert len(sent) - good <= 1, "one step from the host's counter to the firmware's own"


def test_memory_is_answered_when_the_file_has_it(tmp_path: Path, project_dir: Path) -> None:
    firmware = compiled(REMEMBERING, tmp_path, project_dir)
    rig = Rig(firmware.address, b"", "remembering")
    event = os.eventfd(0, os.EFD_NONBLOCK)
    rig.host.set_nvm_event(event)
    rig.plug_in()
    stored, shown = [], 0
    for _ in range(300):
        rig.play(1)
        shown |= rig.fact("output_pins")
        if (wanted := rig.host.page_to_store()) is not None:
            assert os.eventfd_read(event) == 1
            stored.append(wanted)
            rig.play(5)
            assert rig.host.page_to_store() == wanted, "it waits for the file"
            rig.host.page_is_stored(True)
    assert [(page, data[0]) for page, data in stored] == [(3, 0xFF), (3, 0x07), (3, 0x06)]
    assert shown == 0x06
    assert rig.fact("nvm_stores") == 3
    os.close(event)
    rig.close()


def compiled(source: str, folder: Path, project_dir: Path) -> library.Library:
    (folder / "made_up.c").write_text(source)
    include = project_dir / "ext" / "firmware"
    built = folder / "made_up.so"
    command = ["gcc", "-shared", "-fPIC", f"-I{include}", folder / "made_up.c", "-o", built]
    subprocess.run(command, check=True)
    return library.load(built)


def test_a_foreign_firmware_that_hangs_is_reset_and_its_counts_are_not_followed(
    tmp_path: Path, project_dir: Path
) -> None:
    firmware = compiled(HANGING, tmp_path, project_dir)
    rig = Rig(firmware.address, b"", "hanging")
    rig.plug_in()
    rig.play(60)
    assert rig.fact("output_pins") == 1
    assert rig.fact("step_errors") > 0
    rig.play(150)
    assert (rig.fact("resets"), rig.fact("reset_cause")) == (1, 1)
    told = [f.data for f in rig.frames if f.id == IO_OUTPUTS]
    assert told, "the host tells the pins of a firmware that does not"
    assert any(data[2] & 1 for data in told)
    rig.close()
