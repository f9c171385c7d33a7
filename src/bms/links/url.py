"""CAN URLs: one grammar for every place that names a bus.

    inproc:NAME                         a bus inside this process
    socketcan:INTERFACE                 Linux CAN: socketcan:can0
    slcan:DEVICE[@BITRATE[/DATA]]       an adapter on a serial line: slcan:/dev/ttyACM0@500000
    slcan-server:[PATH]                 such an adapter played by us, on a pseudo-terminal; PATH
                                        becomes a symbolic link to it
    socketcand:HOST[:PORT]/BUS          a bus of a socketcand server
    socketcand-server:HOST[:PORT]/BUS   such a server played by us; HOST is where it listens
    udp:HOST:PORT[@LOCAL_PORT]          one other program, datagrams as cannelloni writes them
    INTERFACE:[CHANNEL][@BITRATE]       anything python-can knows by that name: virtual:x

Options follow a question mark, KEY=VALUE joined by &: `baud` of the serial line for slcan (default:
as the port is set); for a python-can interface any of its own keyword arguments.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from typing import Any

import msgspec

from bms import _links
from bms.errors import ConfigError

SOCKETCAND_PORT = 29536
NAME_MOST = 107
SLCAN_SPEEDS = "10, 20, 50, 83.3, 100, 125, 250, 500, 750, 800 or 1000 kbit/s"
SLCAN_DATA_SPEEDS = "1, 2, 4, 5 or 8 Mbit/s"
WITHOUT_FD = ("socketcand", "socketcand-server")
OURS = tuple(kind for kind in _links.KINDS if kind != "python")


class CanUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A URL taken apart. `kind` is one of ours or "python", then `interface` is python-can's name.

    `name` is the interface, device, bus, path or channel. Bit rates are in bit/s, 0: not given.
    """

    text: str
    kind: str
    name: str = ""
    host: str = ""
    port: int = 0
    local_port: int = 0
    bitrate: int = 0
    data_bitrate: int = 0
    baud: int = 0
    interface: str = ""
    settings: Mapping[str, Any] = {}


def parse(url: str) -> CanUrl:
    """What a CAN URL means; nothing is opened. ConfigError says what is wrong with it."""
    kind, colon, rest = url.partition(":")
    if not colon or not kind:
        raise ConfigError("CAN URL", "", url, expectation())
    rest, _, query = rest.partition("?")
    settings = dict(_setting(url, pair) for pair in query.split("&") if pair)
    reader = READERS.get(kind)
    if reader is None:
        return _python(url, kind, rest, settings)
    parsed = reader(url, rest)
    if kind == "slcan" and "baud" in settings:
        baud = _number(url, "baud", settings.pop("baud"), 50, 20_000_000)
        parsed = msgspec.structs.replace(parsed, baud=baud)
    if settings:
        raise ConfigError(url, "", "&".join(settings), "no such option for " + kind)
    if len(parsed.name.encode()) > NAME_MOST:
        raise ConfigError(url, "", parsed.name, f"a name or path of at most {NAME_MOST} bytes")
    return parsed


def available() -> dict[str, str]:
    """Kind to what it is for, or, in brackets, why it cannot be used on this machine."""
    texts = {
        "inproc": "inproc:NAME, a bus inside this process",
        "socketcan": _socketcan_here(),
        "slcan": "slcan:DEVICE@BITRATE, an adapter on a serial line",
        "slcan-server": "slcan-server:PATH, a pseudo-terminal for SLCAN programs",
        "socketcand": "socketcand:HOST:PORT/BUS",
        "socketcand-server": "socketcand-server:HOST:PORT/BUS, for socketcand clients",
        "udp": "udp:HOST:PORT, one other program",
    }
    return {kind: texts[kind] for kind in OURS}


def expectation() -> str:
    """What may stand where a CAN URL is wanted, as far as this machine goes."""
    here = [kind for kind, text in available().items() if not text.startswith("(")]
    absent = [f"{kind} {text}" for kind, text in available().items() if text.startswith("(")]
    also = ", ".join(sorted(python_interfaces()))
    text = "KIND:REST with KIND one of " + ", ".join(here)
    text += f"; or an interface of python-can: {also}" if also else ""
    return text + ("; not here: " + ", ".join(absent) if absent else "")


def python_interfaces() -> set[str]:
    """Names that python-can knows and we do not have ourselves."""
    try:
        import can
    except ImportError:
        return set()
    return set(can.VALID_INTERFACES) - set(OURS)


def _socketcan_here() -> str:
    try:
        socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
    except (OSError, AttributeError):
        return "(this kernel has no CAN)"
    return "socketcan:INTERFACE, Linux CAN"


def _setting(url: str, pair: str) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not key or not equals:
        raise ConfigError(url, "", pair, "KEY=VALUE after the question mark")
    if value in ("true", "false"):
        return key, value == "true"
    try:
        return key, int(value, 0)
    except ValueError:
        return key, value


def _number(url: str, key: str, text: Any, least: int, most: int) -> int:
    try:
        value = int(text)
    except (TypeError, ValueError):
        value = least - 1
    if not least <= value <= most:
        raise ConfigError(url, key, text, f"a whole number from {least} to {most}")
    return value


def _inproc(url: str, rest: str) -> CanUrl:
    if not re.fullmatch(r"[\w.-]{1,64}", rest):
        raise ConfigError(url, "NAME", rest, "letters, digits, and . _ - (at most 64)")
    return CanUrl(text=url, kind="inproc", name=rest)


def _socketcan(url: str, rest: str) -> CanUrl:
    if not re.fullmatch(r"[^/\s]{1,15}", rest):
        raise ConfigError(url, "INTERFACE", rest, "the name of a network interface, such as can0")
    return CanUrl(text=url, kind="socketcan", name=rest)


def _slcan(url: str, rest: str) -> CanUrl:
    device, at, speeds = rest.rpartition("@")
    if not at:
        device, speeds = rest, ""
    nominal, _, data = speeds.partition("/")
    if not device:
        raise ConfigError(url, "DEVICE", rest, "a serial port, such as /dev/ttyACM0")
    return CanUrl(
        text=url, kind="slcan", name=device,
        bitrate=slcan_bitrate(url, nominal) if at else 0,
        data_bitrate=slcan_bitrate(url, data, data=True) if data else 0,
    )  # fmt: skip


def slcan_bitrate(url: str, text: Any, *, data: bool = False) -> int:
    """A bit rate that SLCAN has a digit for; ConfigError for others."""
    key, speeds = ("DATA", SLCAN_DATA_SPEEDS) if data else ("BITRATE", SLCAN_SPEEDS)
    value = _number(url, key, text, 1, 100_000_000)
    if _links.slcan_code(value, data) is None:
        raise ConfigError(url, key, value, speeds)
    return value


def _slcan_server(url: str, rest: str) -> CanUrl:
    return CanUrl(text=url, kind="slcan-server", name=rest)


def _socketcand(url: str, rest: str) -> CanUrl:
    address, slash, bus = rest.partition("/")
    if not slash or not re.fullmatch(r"[\w.-]{1,16}", bus):
        raise ConfigError(url, "BUS", bus, "HOST:PORT/BUS, with a bus such as can0")
    host, port = _address(url, address, SOCKETCAND_PORT)
    return CanUrl(text=url, kind=url.partition(":")[0], name=bus, host=host, port=port)


def _udp(url: str, rest: str) -> CanUrl:
    address, _, local = rest.partition("@")
    host, port = _address(url, address, 0)
    local_port = _number(url, "LOCAL_PORT", local, 1, 65535) if local else 0
    return CanUrl(text=url, kind="udp", host=host, port=port, local_port=local_port)


def _address(url: str, text: str, default_port: int) -> tuple[str, int]:
    """HOST[:PORT]; an IPv6 address stands in brackets."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.%\w]+\]|[^:\[\]]+)(?::(\d+))?", text)
    if not found:
        raise ConfigError(url, "HOST:PORT", text, "an address and a port: 127.0.0.1:29536")
    if found[2] is None and not default_port:
        raise ConfigError(url, "PORT", text, "a port, 1 to 65535, behind the address")
    listens = url.startswith("socketcand-server:")
    port = _number(url, "PORT", found[2] or default_port, 0 if listens else 1, 65535)
    return found[1].strip("[]"), port


def _python(url: str, interface: str, rest: str, settings: Mapping[str, Any]) -> CanUrl:
    if interface not in python_interfaces():
        raise ConfigError(url, "KIND", interface, expectation())
    channel, at, speed = rest.rpartition("@")
    if not at:
        channel, speed = rest, ""
    bitrate = _number(url, "BITRATE", speed, 1, 100_000_000) if at else 0
    return CanUrl(
        text=url, kind="python", name=channel, bitrate=bitrate, interface=interface,
        settings=settings,
    )  # fmt: skip


READERS = {
    "inproc": _inproc,
    "socketcan": _socketcan,
    "slcan": _slcan,
    "slcan-server": _slcan_server,
    "socketcand": _socketcand,
    "socketcand-server": _socketcand,
    "udp": _udp,
}


def resolve(url: str, host: str) -> str:
    """The numeric address of a host, looked up now; ConfigError if it has none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except OSError as error:
        raise ConfigError(url, "HOST", host, f"a host that can be found ({error})") from None
    by_family = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return str(by_family[0][4][0])
