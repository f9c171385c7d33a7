"""TI BQ79616-Q1 stack protocol on a UART: 8N1, 1 Mbit/s, half duplex (TI SLUSE81 and SLVAE86).

Command:  INIT [DEV] REG_HI REG_LO DATA... CRC_LO CRC_HI, INIT = 0x80 | type << 4 | data bytes - 1,
          DEV only for single devices.
Response: INIT DEV REG_HI REG_LO DATA... CRC_LO CRC_HI, INIT = data bytes - 1.

CRC-16/MODBUS over all of it, low byte first; over a frame with its CRC it is 0. A read carries one
data byte: registers wanted - 1.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bms.protocols import Malformed, Vector

MEDIUM: Final = "serial"

CELL_STEP_V: Final = 190.73e-6
GPIO_STEP_V: Final = 152.59e-6
TSREF_STEP_V: Final = 169.54e-6
DIE_STEP_K: Final = 0.025
NO_RESULT: Final = -0x8000
"""What a result register holds before its first conversion, and for ever on a channel that is not
in use."""

SINGLE, STACK, BROADCAST, BROADCAST_REVERSE = "single", "stack", "broadcast", "broadcast_reverse"
_TYPE_OF = {
    (SINGLE, False): 0,
    (SINGLE, True): 1,
    (STACK, False): 2,
    (STACK, True): 3,
    (BROADCAST, False): 4,
    (BROADCAST, True): 5,
    (BROADCAST_REVERSE, True): 6,
}
_OF_TYPE = {number: kind for kind, number in _TYPE_OF.items()}


class Read(msgspec.Struct, frozen=True, tag=True):
    """Asks for `count` registers (1 to 128) from `register` on.

    `device` only counts for scope "single".
    """

    scope: str
    register: int
    count: int
    device: int = 0


class Write(msgspec.Struct, frozen=True, tag=True):
    """Writes `data` (1 to 8 bytes) from `register` on. Not answered."""

    scope: str
    register: int
    data: bytes
    device: int = 0


class Response(msgspec.Struct, frozen=True, tag=True):
    """What one device answers to a read: 1 to 128 bytes from `register` on."""

    device: int
    register: int
    data: bytes


Message = Read | Write | Response


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def crc(data: bytes) -> int:
    """CRC-16/MODBUS: polynomial 0x8005 reflected, start 0xFFFF.

    >>> hex(crc(b"123456789"))
    '0x4b37'
    """
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value


def sealed(body: bytes) -> bytes:
    """`body` with its CRC."""
    return body + crc(body).to_bytes(2, "little")


def encode(message: Message) -> bytes:
    """The frame of a message.

    Raises ValueError for a count, device, register or scope that no frame can carry.
    """
    if not 0 <= message.register <= 0xFFFF or not 0 <= message.device <= 63:
        raise ValueError(f"register {message.register} or device {message.device} out of range")
    register = message.register.to_bytes(2, "big")
    if isinstance(message, Response):
        if not 1 <= len(message.data) <= 128:
            raise ValueError("a response has 1 to 128 data bytes")
        return sealed(bytes([len(message.data) - 1, message.device]) + register + message.data)
    is_write = isinstance(message, Write)
    number = _TYPE_OF.get((message.scope, is_write))
    if number is None:
        raise ValueError(f"no such request: {message.scope}, {'write' if is_write else 'read'}")
    if isinstance(message, Write):
        data = message.data
    elif 1 <= message.count <= 128:
        data = bytes([message.count - 1])
    else:
        raise ValueError("a read asks for 1 to 128 registers")
    if not 1 <= len(data) <= 8:
        raise ValueError("a write has 1 to 8 data bytes")
    device = bytes([message.device]) if message.scope == SINGLE else b""
    return sealed(bytes([0x80 | number << 4 | len(data) - 1]) + device + register + data)


def frame_length(init: int) -> int:
    """Bytes of the frame that begins with `init`; 0 if none does.

    >>> frame_length(0x80), frame_length(0x1F), frame_length(0xF0)
    (7, 38, 0)
    """
    if init < 0x80:
        return init + 7
    kind = _OF_TYPE.get(init >> 4 & 7)
    if kind is None or init & 8 or (not kind[1] and init & 7):
        return 0
    return 6 + (init & 7) + (kind[0] == SINGLE)


def decode(wire: bytes) -> Message | Malformed:
    """One frame, exactly.

    Anything else is Malformed: "empty", "init", "length", "crc" or "address".
    """
    if not wire:
        return Malformed("empty")
    length = frame_length(wire[0])
    if length == 0:
        return Malformed("init")
    if len(wire) != length:
        return Malformed("length")
    if crc(wire) != 0:
        return Malformed("crc")
    if wire[0] < 0x80:
        if wire[1] > 63:
            return Malformed("address")
        return Response(wire[1], int.from_bytes(wire[2:4], "big"), bytes(wire[4:-2]))
    scope, is_write = _OF_TYPE[wire[0] >> 4 & 7]
    head = 2 if scope == SINGLE else 1
    device = wire[1] if scope == SINGLE else 0
    register = int.from_bytes(wire[head : head + 2], "big")
    data = bytes(wire[head + 2 : -2])
    if device > 63 or (not is_write and data[0] > 127):
        return Malformed("address")
    if is_write:
        return Write(scope, register, data, device)
    return Read(scope, register, data[0] + 1, device)


def split(stream: bytes) -> tuple[list[Message | Malformed], bytes]:
    """Frames back to back, and the rest that is not complete yet.

    Loses sync at a malformed frame: all that follows is dropped.
    """
    found: list[Message | Malformed] = []
    while stream:
        length = frame_length(stream[0])
        if length > len(stream):
            return found, stream
        message = decode(stream[:length] if length else stream[:1])
        found.append(message)
        if isinstance(message, Malformed):
            return found, b""
        stream = stream[length:]
    return found, b""


def signed(high: int, low: int) -> int:
    """A big-endian result register pair as a number.

    >>> round(signed(0x4B, 0xC7) * CELL_STEP_V, 5)
    3.69997
    """
    value = high << 8 | low
    return value - 0x10000 if value & 0x8000 else value


def register_name(address: int) -> str:
    """Name of a register, or its address in hexadecimal.

    >>> register_name(0x568), register_name(0x58E), register_name(0x999)
    ('VCELL16_HI', 'GPIO1_HI', '0x999')
    """
    return REGISTERS.get(address, f"0x{address:03X}")


def _registers() -> dict[int, str]:
    names = dict(_NAMED)
    names.update({0x318 + 16 - n: f"CB_CELL{n}_CTRL" for n in range(1, 17)})
    names.update({0x00D + n: f"GPIO_CONF{n}" for n in range(1, 5)})
    names.update({0x342 + n: f"OTP_ECC_DATAIN{n}" for n in range(1, 10)})
    names.update({0x500 + n: f"DIE_ID{n}" for n in range(1, 10)})
    pairs = {0x568 + 2 * (16 - n): f"VCELL{n}" for n in range(1, 17)}
    pairs |= {0x58E + 2 * (n - 1): f"GPIO{n}" for n in range(1, 9)}
    pairs |= {
        0x588: "BUSBAR",
        0x58C: "TSREF",
        0x5AE: "DIETEMP1",
        0x5B0: "DIETEMP2",
        0x5B6: "AUX_BAT",
    }
    for address, name in pairs.items():
        names[address], names[address + 1] = f"{name}_HI", f"{name}_LO"
    return dict(sorted(names.items()))


# fmt: off
_NAMED = {
    0x000: "DIR0_ADDR_OTP", 0x001: "DIR1_ADDR_OTP", 0x002: "DEV_CONF", 0x003: "ACTIVE_CELL",
    0x005: "BBVC_POSN1", 0x006: "BBVC_POSN2", 0x007: "ADC_CONF1", 0x008: "ADC_CONF2",
    0x009: "OV_THRESH", 0x00A: "UV_THRESH", 0x00B: "OTUT_THRESH", 0x00C: "UV_DISABLE1",
    0x00D: "UV_DISABLE2", 0x016: "FAULT_MSK1", 0x017: "FAULT_MSK2", 0x018: "PWR_TRANSIT_CONF",
    0x019: "COMM_TIMEOUT_CONF", 0x01A: "TX_HOLD_OFF", 0x01B: "MAIN_ADC_CAL1",
    0x01C: "MAIN_ADC_CAL2", 0x036: "CUST_CRC_HI", 0x037: "CUST_CRC_LO", 0x306: "DIR0_ADDR",
    0x307: "DIR1_ADDR", 0x308: "COMM_CTRL", 0x309: "CONTROL1", 0x30A: "CONTROL2",
    0x30D: "ADC_CTRL1", 0x30E: "ADC_CTRL2", 0x30F: "ADC_CTRL3", 0x328: "VMB_DONE_THRESH",
    0x329: "MB_TIMER_CTRL", 0x32A: "VCB_DONE_THRESH", 0x32B: "OTCB_THRESH", 0x32C: "OVUV_CTRL",
    0x32D: "OTUT_CTRL", 0x32E: "BAL_CTRL1", 0x32F: "BAL_CTRL2", 0x330: "BAL_CTRL3",
    0x331: "FAULT_RST1", 0x332: "FAULT_RST2", 0x34C: "OTP_ECC_TEST", 0x500: "PARTID",
    0x50C: "CUST_CRC_RSLT_HI", 0x50D: "CUST_CRC_RSLT_LO", 0x527: "ADC_STAT1",
    0x52A: "GPIO_STAT", 0x52B: "BAL_STAT", 0x52C: "DEV_STAT", 0x52D: "FAULT_SUMMARY",
    0x530: "FAULT_COMM1", 0x531: "FAULT_COMM2", 0x532: "FAULT_COMM3", 0x535: "FAULT_OTP",
    0x536: "FAULT_SYS", 0x53A: "FAULT_PROT1", 0x53B: "FAULT_PROT2", 0x53C: "FAULT_OV1",
    0x53D: "FAULT_OV2", 0x53E: "FAULT_UV1", 0x53F: "FAULT_UV2", 0x540: "FAULT_OT",
    0x541: "FAULT_UT", 0x543: "FAULT_COMP_GPIO", 0x545: "FAULT_COMP_VCCB1",
    0x546: "FAULT_COMP_VCCB2", 0x548: "FAULT_COMP_VCOW1", 0x549: "FAULT_COMP_VCOW2",
    0x54B: "FAULT_COMP_CBOW1", 0x54C: "FAULT_COMP_CBOW2", 0x54E: "FAULT_COMP_CBFET1",
    0x54F: "FAULT_COMP_CBFET2", 0x550: "FAULT_COMP_MISC", 0x552: "FAULT_PWR1",
    0x553: "FAULT_PWR2", 0x554: "FAULT_PWR3", 0x556: "CB_COMPLETE1", 0x557: "CB_COMPLETE2",
    0x558: "BAL_TIME", 0x781: "DEBUG_UART_RC", 0xE00: "DEV_REVID",
}
# fmt: on
REGISTERS: Final = _registers()
"""Address -> name of every register this project knows."""


def _vector(text: str, message: Message, source: str = "TI SLUSE81, SLVAE86") -> Vector:
    return Vector(bytes.fromhex(text), message, source)


VECTORS: Final = (
    _vector(
        "80 00 02 0F 0B C0 29", Read(SINGLE, 0x20F, 12), "TI SLUSE81, single-device read example"
    ),
    _vector("80 00 05 00 00 35 DF", Read(SINGLE, 0x500, 1)),
    _vector("00 00 05 00 21 F4 19", Response(0, 0x500, b"\x21")),
    _vector("80 00 00 00 37 64 08", Read(SINGLE, 0x000, 56)),
    _vector("90 00 03 0D 06 90 8F", Write(SINGLE, 0x30D, b"\x06")),
    _vector("80 00 05 68 1F 5B D7", Read(SINGLE, 0x568, 32)),
    _vector("A0 05 68 1F 5C 2D", Read(STACK, 0x568, 32)),
    _vector("D0 03 4C 00 FC 24", Write(BROADCAST, 0x34C, b"\x00")),
    _vector("D0 03 09 01 0F 74", Write(BROADCAST, 0x309, b"\x01")),
    _vector("D0 03 06 00 CB 44", Write(BROADCAST, 0x306, b"\x00")),
    _vector("D0 03 06 01 0A 84", Write(BROADCAST, 0x306, b"\x01")),
    _vector("D0 03 06 02 4A 85", Write(BROADCAST, 0x306, b"\x02")),
    _vector("D0 03 08 02 4E E5", Write(BROADCAST, 0x308, b"\x02")),
    _vector("90 00 03 08 00 13 DD", Write(SINGLE, 0x308, b"\x00")),
    _vector("90 02 03 08 03 52 64", Write(SINGLE, 0x308, b"\x03", 2)),
    _vector("C0 03 4C 00 F8 E4", Read(BROADCAST, 0x34C, 1)),
    _vector("B0 03 43 00 E7 D4", Write(STACK, 0x343, b"\x00")),
    _vector("B0 03 44 00 E5 E4", Write(STACK, 0x344, b"\x00")),
    _vector("B0 00 03 0A A6 13", Write(STACK, 0x003, b"\x0a")),
    _vector("B0 03 0D 06 52 76", Write(STACK, 0x30D, b"\x06")),
    _vector("90 00 03 09 20 13 95", Write(SINGLE, 0x309, b"\x20")),
    _vector("90 00 03 09 80 13 ED", Write(SINGLE, 0x309, b"\x80")),
    _vector("90 00 03 09 A0 12 35", Write(SINGLE, 0x309, b"\xa0")),
    _vector("A0 05 2D 00 2F 75", Read(STACK, 0x52D, 1)),
    _vector("00 02 05 2D 00 28 E9", Response(2, 0x52D, b"\x00")),
    _vector("00 01 05 2D 02 A9 6C", Response(1, 0x52D, b"\x02")),
    _vector("01 01 05 86 4B C7 AA 4D", Response(1, 0x586, b"\x4b\xc7"), "bench reading, 3.69997 V"),
)
