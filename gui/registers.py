"""The registers of a BQ79616 by name, in bits and in words (TI SLUSE81, SLVAE86)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from bms.protocols import bq79616

BANKS = ((0x000, 0x40, 0x00), (0x780, 0x40, 0x40), (0x300, 0x80, 0x80), (0x500, 0x100, 0x100))
"""(first address, length, place) of the four banks of chips.registers."""
FIRST_READ_ONLY = 0x500
GROUPS = ("configuration", "control", "status", "results")

BITS: dict[str, tuple[str, ...]] = {
    "COMM_CTRL": ("TOP_STACK", "STACK_DEV"),
    "CONTROL1": (
        "ADDR_WR", "SOFT_RESET", "GOTO_SLEEP", "GOTO_SHUTDOWN", "SEND_SLPTOACT", "SEND_WAKE",
        "SEND_SHUTDOWN", "DIR_SEL",
    ),
    "CONTROL2": ("TSREF_EN",),
    "ADC_CTRL1": ("MODE0", "MODE1", "MAIN_GO", "LPF_VCELL_EN", "LPF_BB_EN"),
    "ADC_CTRL3": ("MODE0", "MODE1", "AUX_GO"),
    "OVUV_CTRL": ("MODE0", "MODE1", "GO"),
    "OTUT_CTRL": ("MODE0", "MODE1", "GO"),
    "BAL_CTRL2": (
        "AUTO_BAL", "BAL_GO", "ACTION0", "ACTION1", "OTCB_EN", "FLTSTOP_EN", "CB_PAUSE",
    ),
    "FAULT_RST1": ("PWR", "SYS", "COMP", "OV", "UV", "OT", "UT", "PROT"),
    "FAULT_RST2": (
        "COMM1", "COMM2", "COMM3_HB", "COMM3_FTONE", "COMM3_FCOMM", "OTP_DATA", "OTP_CRC",
    ),
    "ADC_STAT1": ("DRDY_MAIN", "DRDY_AUX_MISC", "DRDY_AUX_CELL", "DRDY_AUX_GPIO"),
    "BAL_STAT": (
        "CB_DONE", "MB_DONE", "ABORTFLT", "CB_RUN", "MB_RUN", "CB_INPAUSE", "OT_PAUSE",
        "INVALID_CBCONF",
    ),
    "DEV_STAT": (
        "MAIN_RUN", "AUX_RUN", "", "OVUV_RUN", "OTUT_RUN", "CUST_CRC_DONE", "FACT_CRC_DONE",
    ),
    "FAULT_SUMMARY": ("PWR", "SYS", "OVUV", "OTUT", "COMM", "OTP", "COMP_ADC", "PROT"),
    "FAULT_COMM1": ("STOP_DET", "COMMCLR_DET", "UART_RC", "UART_RR", "UART_TR"),
    "FAULT_SYS": ("TWARN", "TSHUT", "CTS", "CTL", "DRST", "GPIO", "", "LFO"),
}  # fmt: skip
"""Names of the bits from bit 0 on; "" where a bit has none."""
for _mask, _reset in (("FAULT_MSK1", "FAULT_RST1"), ("FAULT_MSK2", "FAULT_RST2")):
    BITS[_mask] = BITS[_reset]
for _first, _name in ((8, "1"), (0, "2")):
    for _stem in ("FAULT_OV", "FAULT_UV", "UV_DISABLE", "CB_COMPLETE"):
        BITS[_stem + _name] = tuple(f"cell {_first + k + 1}" for k in range(8))
for _stem in ("FAULT_OT", "FAULT_UT"):
    BITS[_stem] = tuple(f"GPIO {k + 1}" for k in range(8))

DUTY = ("5 s", "10 s", "30 s", "1 min", "5 min", "10 min", "20 min", "30 min")
TIMEOUTS = ("off", "100 ms", "2 s", "10 s", "1 min", "10 min", "30 min", "1 h")
GPIO_USE = ("off", "ADC and OT/UT", "ADC", "input", "output high", "output low", "ADC pull-up",
            "ADC pull-down")  # fmt: skip


@dataclass(frozen=True)
class Register:
    """One row: a register, or a pair of bytes that is one number. size: 1 or 2 bytes."""

    address: int
    name: str
    size: int = 1

    @property
    def is_writable(self) -> bool:
        """Whether a write does anything."""
        return self.address < FIRST_READ_ONLY or self.address >= 0x600

    @property
    def group(self) -> str:
        """One of GROUPS."""
        if self.address < 0x300:
            return "configuration"
        if self.address < FIRST_READ_ONLY:
            return "control"
        return "results" if 0x568 <= self.address < 0x600 else "status"


def slot(address: int) -> int:
    """Where a register lies in the bytes of a chip; -1 where there is none."""
    for first, length, place in BANKS:
        if first <= address < first + length:
            return place + address - first
    return -1


@cache
def table() -> tuple[Register, ...]:
    """Every register that is known and kept, by address; HI and LO of a number are one row."""
    rows, skip = [], set()
    for address, name in bq79616.REGISTERS.items():
        if address in skip or slot(address) < 0:
            continue
        low = bq79616.REGISTERS.get(address + 1, "")
        if name.endswith("_HI") and low == name[:-3] + "_LO":
            rows.append(Register(address, name[:-3], 2))
            skip.add(address + 1)
        else:
            rows.append(Register(address, name))
    return tuple(rows)


def value_of(values: np.ndarray, register: Register) -> int:
    """The number in a register. values: (512,) uint8 of one chip."""
    at = slot(register.address)
    first = int(values[at])
    return first << 8 | int(values[at + 1]) if register.size == 2 else first


def bits_of(register: Register) -> tuple[str, ...]:
    """Names of its eight bits, from bit 0 on."""
    names = BITS.get(register.name, ())
    return (*names, *("" for _ in range(8 - len(names))))


def _over_voltage(code: int) -> str:
    code &= 63
    for first, last, volts in ((0x02, 0x0E, 2.700), (0x12, 0x1E, 3.500), (0x22, 0x2E, 4.175)):
        if first <= code <= last:
            return f"{volts + 0.025 * (code - first):.3f} V"
    return "outside the three windows: acts as 2.700 V"


def _timer(code: int) -> str:
    code &= 31
    short = ("stop", "10 s", "30 s", "60 s", "5 min")
    if code < 5:
        return short[code]
    if code <= 0x10:
        return f"{10 * (code - 4)} min"
    return "600 min" if code == 0x1F else f"{120 + 30 * (code - 0x10)} min"


def _gpio(code: int) -> str:
    return f"odd {GPIO_USE[code & 7]}, even {GPIO_USE[code >> 3 & 7]}"


def _mode(code: int) -> str:
    words = ("stopped", "once", "continuous", "reserved")
    go = ", go" if code & 4 else ""
    lpf = ", cells filtered" if code & 8 else ""
    return words[code & 3] + go + lpf


_WORDS: dict[str, Callable[[int], str]] = {
    "ACTIVE_CELL": lambda x: f"{(x & 15) + 6} channels",
    "OV_THRESH": _over_voltage,
    "UV_THRESH": lambda x: f"{1.2 + 0.05 * min(x & 63, 0x26):.2f} V",
    "OTUT_THRESH": lambda x: f"hot below {10 + (x & 31)} %, cold above {66 + 2 * (x >> 5)} %",
    "COMM_TIMEOUT_CONF": lambda x: f"short {TIMEOUTS[x >> 4 & 7]}, long {TIMEOUTS[x & 7]}",
    "DIR0_ADDR": lambda x: f"address {x & 63}",
    "DIR1_ADDR": lambda x: f"address {x & 63}",
    "ADC_CTRL1": _mode,
    "ADC_CTRL3": _mode,
    "VCB_DONE_THRESH": lambda x: f"{2.45 + 0.025 * ((x & 63) - 1):.3f} V" if x & 63 else "off",
    "OTCB_THRESH": lambda x: f"{10 + 2 * (x & 15)} % of TSREF",
    "BAL_CTRL1": lambda x: f"duty {DUTY[x & 7]}",
    "BAL_TIME": lambda x: f"{(x & 127) * (300 if x & 128 else 5)} s left",
    "PARTID": lambda x: {0x21: "BQ79616", 0x01: "BQ79614", 0x02: "BQ79612"}.get(x, "unknown part"),
}


def words(register: Register, value: int) -> str:
    """What a value means; "" where nothing is known of it."""
    name = register.name
    if register.size == 2:
        return _number(name, value)
    if name.startswith("CB_CELL"):
        return _timer(value)
    if name.startswith("GPIO_CONF"):
        return _gpio(value)
    if name in _WORDS:
        return _WORDS[name](value)
    if name in BITS:
        told = [bit for k, bit in enumerate(bits_of(register)) if bit and value >> k & 1]
        return ", ".join(told) or "none"
    return ""


def _number(name: str, value: int) -> str:
    signed = value - 0x10000 if value & 0x8000 else value
    if name.startswith("CUST_CRC"):
        return "checksum of the configuration"
    if signed == bq79616.NO_RESULT:
        return "no result"
    if name.startswith("VCELL"):
        return f"{signed * bq79616.CELL_STEP_V:.4f} V"
    if name.startswith("GPIO"):
        return f"{signed * bq79616.GPIO_STEP_V:.4f} V"
    if name == "TSREF":
        return f"{signed * bq79616.TSREF_STEP_V:.4f} V"
    if name == "BUSBAR":
        return f"{signed * 30.52e-3:.3f} mV"
    if name.startswith("DIETEMP"):
        return f"{signed * bq79616.DIE_STEP_K:.1f} °C"
    return f"{signed * 3.05e-3:.3f} V" if name == "AUX_BAT" else ""
