"""The whole firmware as ARM code in Unicorn, in the closed loop: every instruction is counted.

The image is the one that runs in QEMU. `Chip` looks like any firmware to a simulation; what is
counted is one call of `ecu_step`, from its first instruction to its return.
"""

from __future__ import annotations

import ctypes
import struct
from importlib import import_module
from pathlib import Path
from typing import Any

from bms import _loop
from bms.firmware import image
from bms.firmware.library import ABI, Probe
from bms.sim import Simulation

FLASH, RAM, PSRAM, SYSTEM = 0, 0x20000000, 0x21000000, 0xE0000000
CONFIG, STATE, BOOT, IN, OUT = (PSRAM + (k << 20) for k in range(1, 6))
RETURN, STACK, STACK_BYTES = 0x00700000, RAM + (128 << 10), 32 << 10
PAINT = b"\xc5"
NAME = b"the microcontroller, instruction by instruction"
POINTER = ctypes.c_void_p


def missing() -> str | None:
    """What to install, or None."""
    if lacking := image.missing():
        return f"not measured: {lacking}"
    try:
        import_module("unicorn")
    except ImportError:
        return "not measured: pip install unicorn"
    return None


class Chip:
    """One firmware with its state. steps: instructions of each call of ecu_step so far."""

    def __init__(self, built: image.Image, folder: Path) -> None:
        self.path, self.version, self.steps = built.elf, NAME.decode(), list[int]()
        self._unicorn: Any = import_module("unicorn")
        self._arm: Any = import_module("unicorn.arm_const")
        self._machine = self._started(built.elf, folder)
        self._step, self._init = built.place("ecu_step"), built.place("ecu_init")
        self.size = self._call(built.place("ecu_size"))
        self._count = ctypes.c_uint64(0)
        self._hook(folder)
        kinds: list[tuple[Any, Any]] = [
            (ctypes.CFUNCTYPE(ctypes.c_uint32), lambda: ABI),
            (ctypes.CFUNCTYPE(ctypes.c_char_p), lambda: NAME),
            (ctypes.CFUNCTYPE(ctypes.c_size_t), lambda: 64),  # the state lies in the chip
            (ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER), self._booted),
            (ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER), self._stepped),
        ]
        self._kept = [kind(function) for kind, function in kinds]
        places = [ctypes.cast(f, POINTER).value for f in self._kept]
        self._table = (POINTER * 6)(*places, None)
        self.address = ctypes.addressof(self._table)

    def probes(self) -> list[Probe]:
        """None: the state lies in the chip."""
        return []

    def _started(self, elf: Path, folder: Path) -> Any:
        binary = folder / "image.bin"
        image.run(["arm-none-eabi-objcopy", "-O", "binary", str(elf), str(binary)])
        uc, arm = self._unicorn, self._arm
        machine = uc.Uc(uc.UC_ARCH_ARM, uc.UC_MODE_THUMB | uc.UC_MODE_MCLASS)
        machine.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        for start, size in ((FLASH, 8 << 20), (RAM, 128 << 10), (PSRAM, 16 << 20)):
            machine.mem_map(start, size)
        machine.mem_write(FLASH, binary.read_bytes())
        machine.mem_write(RETURN, b"\x00\xbf\x00\xbf")
        machine.mem_write(STACK - STACK_BYTES, PAINT * STACK_BYTES)
        access = machine.reg_read(arm.UC_ARM_REG_C1_C0_2)
        machine.reg_write(arm.UC_ARM_REG_C1_C0_2, access | 0xF << 20)  # the FPU
        machine.reg_write(arm.UC_ARM_REG_FPEXC, 0x40000000)
        return machine

    def _hook(self, folder: Path) -> None:
        made = folder / "count.so"
        source = str(image.EXT / "target/count.c")
        image.run(["cc", "-shared", "-fPIC", "-O2", "-std=c99", source, "-o", str(made)])
        self._counter = ctypes.CDLL(str(made))
        native: Any = import_module("unicorn.unicorn_py3.unicorn").uclib
        handle = ctypes.c_ulong(0)
        code = native.uc_hook_add(
            self._machine._uch, ctypes.byref(handle), self._unicorn.UC_HOOK_CODE,
            ctypes.cast(self._counter.count_instruction, POINTER),
            ctypes.cast(ctypes.pointer(self._count), POINTER), 1, 0,
        )  # fmt: skip
        if code:
            raise RuntimeError(f"Unicorn refuses to count: {code}")

    def _call(self, place: int, *arguments: int) -> int:
        arm, machine = self._arm, self._machine
        for k, value in enumerate(arguments):
            machine.reg_write(arm.UC_ARM_REG_R0 + k, value)
        machine.reg_write(arm.UC_ARM_REG_SP, STACK)
        machine.reg_write(arm.UC_ARM_REG_LR, RETURN | 1)
        machine.emu_start(place | 1, RETURN)
        return int(machine.reg_read(arm.UC_ARM_REG_R0))

    def _booted(self, _: int, boot: int) -> int:
        now_us, cause, entropy = struct.unpack("<QB16s", ctypes.string_at(boot, 25))
        config, size = struct.unpack("<QQ", ctypes.string_at(boot + 32, 16))
        self._machine.mem_write(CONFIG, ctypes.string_at(config, size))
        told = struct.pack("<QB16s3xII4x", now_us, cause, entropy, CONFIG, size)
        self._machine.mem_write(BOOT, told)
        return self._call(self._init, STATE, BOOT)

    def _stepped(self, _: int, given: int, answer: int) -> None:
        machine = self._machine
        machine.mem_write(IN, ctypes.string_at(given, _loop.IN_BYTES))
        machine.mem_write(OUT, ctypes.string_at(answer, _loop.OUT_BYTES))
        self._count.value = 0
        self._call(self._step, STATE, IN, OUT)
        self.steps.append(self._count.value)
        ctypes.memmove(answer, bytes(machine.mem_read(OUT, _loop.OUT_BYTES)), _loop.OUT_BYTES)

    @property
    def stack_bytes(self) -> int:
        """Most stack any call has used."""
        stack = bytes(self._machine.mem_read(STACK - STACK_BYTES, STACK_BYTES))
        return STACK_BYTES - (len(stack) - len(stack.lstrip(PAINT)))


class Counted(Simulation):
    """A simulation with a chip as its firmware."""

    def __init__(self, chip: Chip, scenario: str, *, pack: str, seed: int = 1) -> None:
        self._chip = chip
        super().__init__(scenario, pack=pack, seed=seed)

    def _new_world(self) -> _loop.World:
        self.firmware = self._chip  # type: ignore[assignment]
        return _loop.World(self._chip.address, self.config)
