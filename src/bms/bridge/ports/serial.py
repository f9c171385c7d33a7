"""Serial lines as ends of a bridge: a face of the pack, and answers that become CAN frames.

`face:jbd=pty:/run/jbd` answers a serial host in the words of a JBD (Daly, JK, Pylontech) out of the
frames that the rules send it; docs/faces.md has the names.

`serial:jbd=/dev/ttyUSB0@9600` asks a serial BMS (jbd, daly) every `ask_s`;
`serial:bq79616=/dev/ttyUSB0@1000000` only listens, to the line of the monitor chips. `values` is
the rule by which their answers become frames:

    values = [{ field = "cell_voltage_v", id = 0x600, scale = 0.001 }]

one signal of 16 bits, little-endian, four to a frame: values 0 to 3 in 0x600, 4 to 7 in 0x601.
What cannot be told is FFFF (8000 with `signed`). Nothing is ever written to a line that is only
listened to.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from bms.bridge.ports.base import BATCH, POLL_S, Context, Port, room_for
from bms.errors import ConfigError, LinkError
from bms.links import Link, faces
from bms.protocols import Malformed, bq79616, daly, jbd

WAITING_MOST = 4096
REOPEN_S = 1.0
PER_FRAME = 4
Values = dict[str, dict[int, float]]


class FaceOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field of the answers, and the frames it goes into: `id` is the first of them."""

    field: str
    id: int
    scale: float = 1.0
    signed: bool = False
    extended: bool = False


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`values`: the rule. `ask_s`: how often a serial BMS is asked, 0: it is only heard."""

    values: list[Told]
    ask_s: float = 1.0


OPTIONS = {"face": FaceOptions, "serial": Options}


class Reader(Protocol):
    """A serial protocol as it is heard."""

    FIELDS: tuple[str, ...]
    BAUD: int
    QUESTIONS: tuple[bytes, ...]

    def size(self, data: bytes) -> int:
        """Bytes of the frame that starts here: 0 not known yet, -1 none starts here."""

    def values(self, wire: bytes) -> Values | None:
        """field -> number -> value of a frame; None for one that is malformed."""


class Jbd:
    """Register 03 and 04."""

    FIELDS: tuple[str, ...] = (
        "cell_voltage_v",
        "pack_voltage_v",
        "pack_current_a",
        "soc_frac",
        "temperature_degc",
    )
    BAUD: int = jbd.BAUD
    QUESTIONS: tuple[bytes, ...] = (
        jbd.encode(jbd.Request(jbd.BASIC)),
        jbd.encode(jbd.Request(jbd.CELLS)),
    )

    def size(self, data: bytes) -> int:
        return jbd.frame_size(data)

    def values(self, wire: bytes) -> Values | None:
        """See Reader."""
        found = jbd.decode(wire)
        if isinstance(found, Malformed):
            return None
        if isinstance(found, jbd.Cells):
            return {"cell_voltage_v": {k: 1e-3 * v for k, v in enumerate(found.voltages_mv)}}
        if isinstance(found, jbd.Basic):
            return {
                "pack_voltage_v": {0: 0.01 * found.voltage_cv},
                "pack_current_a": {0: 0.01 * found.current_ca},
                "soc_frac": {0: 0.01 * found.soc_pct},
                "temperature_degc": {
                    k: 0.1 * (t - jbd.KELVIN_D) for k, t in enumerate(found.temperatures_dk)
                },
            }
        return {}


class Daly:
    """Commands 90 and 95."""

    FIELDS: tuple[str, ...] = ("cell_voltage_v", "pack_voltage_v", "pack_current_a", "soc_frac")
    BAUD: int = daly.BAUD
    QUESTIONS: tuple[bytes, ...] = tuple(
        daly.encode(daly.Frame(daly.HOSTS[0], c)) for c in (0x90, 0x95)
    )

    def size(self, data: bytes) -> int:
        return daly.frame_size(data)

    def values(self, wire: bytes) -> Values | None:
        """See Reader."""
        found = daly.decode(wire)
        if isinstance(found, Malformed):
            return None
        if isinstance(found, daly.Cells):
            first = 3 * (found.number - 1)
            volts = enumerate(found.voltages_mv)
            return {"cell_voltage_v": {first + k: 1e-3 * v for k, v in volts if first >= 0}}
        if isinstance(found, daly.Summary):
            return {
                "pack_voltage_v": {0: 0.1 * found.voltage_dv},
                "pack_current_a": {0: 0.1 * found.current_da},
                "soc_frac": {0: 0.001 * found.soc_permille},
            }
        return {}


class Bq79616:
    """Answers of monitor chips: 16 cells of each device, counted from device 0."""

    FIELDS: tuple[str, ...] = ("cell_voltage_v", "gpio_voltage_v")
    BAUD: int = 1_000_000
    QUESTIONS: tuple[bytes, ...] = ()
    CELLS, GPIO = 0x568, 0x58E  # of cell 16, downwards; of GPIO 1, upwards

    def size(self, data: bytes) -> int:
        return bq79616.frame_length(data[0]) or -1

    def values(self, wire: bytes) -> Values | None:
        """See Reader."""
        found = bq79616.decode(wire)
        if isinstance(found, Malformed):
            return None
        values: Values = {"cell_voltage_v": {}, "gpio_voltage_v": {}}
        if isinstance(found, bq79616.Response):
            for at in range(len(found.data) - 1):
                raw = bq79616.signed(found.data[at], found.data[at + 1])
                cell, cell_odd = divmod(found.register + at - self.CELLS, 2)
                gpio, gpio_odd = divmod(found.register + at - self.GPIO, 2)
                if raw == bq79616.NO_RESULT:
                    continue
                if 0 <= cell < 16 and not cell_odd:
                    number = 16 * found.device + 15 - cell
                    values["cell_voltage_v"][number] = raw * bq79616.CELL_STEP_V
                if 0 <= gpio < 8 and not gpio_odd:
                    values["gpio_voltage_v"][8 * found.device + gpio] = raw * bq79616.GPIO_STEP_V
        return values


READERS: dict[str, type[Reader]] = {
    "jbd": Jbd,
    "daly": Daly,
    "bq79616": Bq79616,
}


def _place(context: Context) -> tuple[str, str, int]:
    """Protocol, device and baud of `PROTOCOL=DEVICE[@BAUD]`."""
    protocol, _, rest = context.place.name.partition("=")
    device, at, baud = rest.rpartition("@")
    if not at:
        device, baud = rest, ""
    if protocol not in READERS or not device or (at and not baud.isdecimal()):
        raise ConfigError(
            context.file, f"link.{context.name}.url", context.place.text,
            "serial:PROTOCOL=DEVICE[@BAUD] with one of " + ", ".join(READERS),
        )  # fmt: skip
    return protocol, device, int(baud) if baud else READERS[protocol].BAUD


def check(context: Context) -> list[str]:
    """Names of faces, protocols and fields; identifiers that exist."""
    if context.place.kind == "face":
        wanted = faces.parse(context.place.name)
        if not wanted.is_serial:
            raise ConfigError(
                context.file, f"link.{context.name}.url", context.place.text, "a serial face"
            )
        return []
    protocol, _, _ = _place(context)
    known = READERS[protocol].FIELDS
    for k, told in enumerate(context.options.values):
        key = f"link.{context.name}.options.values[{k}]"
        if told.field not in known:
            raise ConfigError(
                context.file, f"{key}.field", told.field, "one of " + ", ".join(known)
            )
        most = 0x1FFFFF00 if told.extended else 0x700
        if not 0 <= told.id <= most or not told.scale > 0:
            raise ConfigError(
                context.file, f"{key}.id", told.id, f"0 to 0x{most:X}, and a scale above 0"
            )
    return []


class Face(Port):
    """The pack as a serial BMS."""

    COUNTS = ("answered", "unanswered", "noise", "overrun", "lost", "failures")

    def __init__(self, context: Context, outer: Link, inner: Link):
        super().__init__(context, outer, inner)
        self._face = faces.SerialFace(faces.parse(context.place.name))
        self._face.counts = self.counts

    def works(self) -> tuple[Callable[[], None], ...]:
        return (self._work,)

    def _work(self) -> None:
        self._face.open()
        self.up()
        faces.serve(self.inner, [self._face], time.monotonic, lambda _: self._is_over())

    def _is_over(self) -> bool:
        if (self._face.port is None) != (self.outer.state != "up"):
            self.up() if self._face.port is not None else self.down("its serial line is gone")
        return self.stopping.is_set()

    def finish(self) -> None:
        self._face.close()

    def details(self) -> dict[str, Any]:
        port = self._face.port
        return {**self.counts, "place": port.name if port else ""}


class Serial(Port):
    """Answers of a serial line as CAN frames."""

    COUNTS = ("heard", "malformed", "noise", "overrun", "asked", "told", "impossible", "failures")

    def __init__(self, context: Context, outer: Link, inner: Link):
        super().__init__(context, outer, inner)
        protocol, self._device, self._baud = _place(context)
        self._reader: Reader = READERS[protocol]()
        self._waiting = bytearray()
        self._known: Values = {}
        self.down("not open yet")

    def works(self) -> tuple[Callable[[], None], ...]:
        return (self._work,)

    def _work(self) -> None:
        while not self.stopping.is_set():
            try:
                port = faces.Device(self._device, self._baud)
            except LinkError as error:
                self.down(error)
                self.stopping.wait(REOPEN_S)
                continue
            with contextlib.closing(port):
                self.up()
                try:
                    self._listen(port)
                except OSError as error:
                    self.down(error.strerror or error)

    def _listen(self, port: faces.Device) -> None:
        next_s, questions, away = 0.0, self._reader.QUESTIONS, room_for(BATCH)
        asks = questions and self.context.options.ask_s > 0
        turn = 0
        while not self.stopping.is_set():
            now_s = time.monotonic()
            if asks and now_s >= next_s:  # one at a time: the line is half duplex
                port.write(questions[turn % len(questions)])
                self.counts["asked"] += 1
                turn += 1
                next_s = now_s + self.context.options.ask_s / len(questions)
            data = port.read()
            self._waiting += data
            for values in self._messages():
                self._tell(values)
            self.take(away, 0.0)  # what rules send here goes nowhere
            if not data:
                self.stopping.wait(min(0.005, POLL_S))

    def _messages(self) -> Iterator[Values]:
        while self._waiting:
            size = self._reader.size(bytes(self._waiting[:256]))
            if size == 0 or size > len(self._waiting):
                break
            found = self._reader.values(bytes(self._waiting[:size])) if size > 0 else None
            if found is None:  # its start may have been a lie: look one byte on
                self.counts["noise" if size < 0 else "malformed"] += 1
                del self._waiting[0]
                continue
            self.counts["heard"] += 1
            del self._waiting[:size]
            yield found
        if len(self._waiting) > WAITING_MOST:
            self.counts["overrun"] += 1
            self._waiting.clear()

    def _tell(self, values: Values) -> None:
        for told in self.context.options.values:
            fresh = values.get(told.field)
            if not fresh:
                continue
            known = self._known.setdefault(told.field, {})
            known.update({k: v for k, v in fresh.items() if k < 1024})
            numbers = sorted({k // PER_FRAME for k in fresh if k < 1024})
            batch = room_for(len(numbers))
            for row, number in zip(batch, numbers, strict=True):
                raw = [_raw(known.get(PER_FRAME * number + k), told) for k in range(PER_FRAME)]
                row["id"], row["flags"], row["length"] = told.id + number, told.extended, 8
                row["data"][:8] = list(b"".join(v.to_bytes(2, "little") for v in raw))
            self.counts["told"] += self.give(batch)


def _raw(value: float | None, told: Told) -> int:
    """Sixteen bits; all ones, or the lowest number, for what is not known or does not fit."""
    least, most = (-0x7FFF, 0x7FFF) if told.signed else (0, 0xFFFE)
    number = None if value is None else round(value / told.scale)
    if number is None or not least <= number <= most:
        return 0x8000 if told.signed else 0xFFFF
    return number & 0xFFFF


PORTS = {"face": Face, "serial": Serial}
