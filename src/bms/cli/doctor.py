"""`bms doctor`: what works on this machine, and the line to type for what does not."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

HELP = "what works on this machine, and how to get what is missing"


class Check(msgspec.Struct, frozen=True):
    """One finding. `fix` is the exact line to type; empty when there is nothing to do."""

    group: str
    name: str
    works: bool
    detail: str
    fix: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> int:
    checks = findings()
    if args.json:
        print(msgspec.json.encode({"checks": checks}).decode())
        return 0
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            print(f"\n{group}" if check is not checks[0] else group)
        print(f"  {'yes' if check.works else ' no'}  {check.name:20} {check.detail}")
        if check.fix:
            print(f"       {'':20} {check.fix}")
    return 0


def findings() -> list[Check]:
    """Every check, grouped, in reading order. What cannot be found out counts as missing."""
    parts: tuple[Callable[[], list[Check]], ...] = (_core, _extras, _links, _tools, _system)
    return [check for part in parts for check in part()]


def _core() -> list[Check]:
    from bms import __version__, bench

    rebuild = (
        "make test"
        if _source_tree()
        else f"{sys.executable} -m pip install --force-reinstall solid-bms"
    )
    python = ".".join(map(str, sys.version_info[:3]))
    checks = [
        Check(
            "core",
            "bms",
            True,
            f"{__version__}, Python {python}, {Path(__file__).resolve().parent.parent}",
        )
    ]
    found = bench.compiled_modules()
    for name in sorted(set(found) | _expected_modules()):
        if name not in found:
            checks.append(Check("core", name, False, "not compiled", rebuild))
            continue
        build = hashlib.sha256(found[name].read_bytes()).hexdigest()[:12]
        problem = _import_problem(f"bms.{name}")
        detail = problem or f"build {build}, {bench.compiler_of(found[name]) or 'compiler unknown'}"
        checks.append(Check("core", name, not problem, detail, rebuild if problem else ""))
    return checks


def _source_tree() -> Path | None:
    top = Path(__file__).resolve().parents[3]
    return top if (top / "ext" / "bms").is_dir() else None


def _expected_modules() -> set[str]:
    top = _source_tree()
    return {path.stem for path in (top / "ext" / "bms").glob("_*.pyx")} if top else set()


def _import_problem(module: str) -> str:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


EXTRAS = {
    "gui": ("PySide6", "pyqtgraph"),
    "export": ("asammdf",),
    "fmi": ("pythonfmu3",),
    "bpx": ("bpx",),
    "docs": ("material",),
    "cluster": ("distributed",),
    "lab": ("pyvisa",),
    "test": ("pytest", "hypothesis", "scipy", "polars"),
}


def _extras() -> list[Check]:
    checks = []
    target = "-e '.[{}]'" if _source_tree() else "'solid-bms[{}]'"
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        detail = "missing: " + ", ".join(missing) if missing else ", ".join(modules)
        fix = f"{sys.executable} -m pip install {target.format(extra)}" if missing else ""
        checks.append(Check("optional parts", extra, not missing, detail, fix))
    return [*checks, _display()]


def _display() -> Check:
    screen = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if screen:
        return Check("optional parts", "display", True, screen)
    return Check(
        "optional parts",
        "display",
        False,
        "no screen here; windows draw offscreen",
        "export QT_QPA_PLATFORM=offscreen",
    )


def _links() -> list[Check]:
    return [_can_sockets(), _can_interfaces(), _serial_ports()]


def _can_sockets() -> Check:
    family = getattr(socket, "AF_CAN", None)
    if family is None:
        return Check(
            "links",
            "CAN sockets",
            False,
            "this Python has no AF_CAN; use slcan, udp_multicast or virtual",
        )
    try:
        socket.socket(family, socket.SOCK_RAW, socket.CAN_RAW).close()
    except OSError as error:
        detail = (
            f"the kernel refuses ({error.strerror}); slcan, udp_multicast and virtual work without"
        )
        return Check("links", "CAN sockets", False, detail, "sudo modprobe can can_raw")
    return Check("links", "CAN sockets", True, "SocketCAN can be opened")


def _can_interfaces() -> Check:
    found = []
    for place in sorted(Path("/sys/class/net").glob("*")):
        try:
            if (place / "type").read_text("ascii").strip() == "280":  # ARPHRD_CAN
                found.append(place.name)
        except OSError:
            continue
    fix = "sudo modprobe vcan && sudo ip link add dev vcan0 type vcan && sudo ip link set up vcan0"
    return Check(
        "links", "CAN interfaces", bool(found), ", ".join(found) or "none", "" if found else fix
    )


def _serial_ports() -> Check:
    from serial.tools.list_ports import comports

    ports = sorted(port.device for port in comports())
    closed = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if closed:
        return Check(
            "links",
            "serial ports",
            False,
            "no permission: " + ", ".join(closed),
            "sudo usermod -aG dialout $USER",
        )
    detail = ", ".join(ports) or "none plugged in; pseudo-terminals work"
    return Check("links", "serial ports", bool(ports), detail)


TOOLS = {
    "gcc": ("gcc", "compiles the modules"),
    "clang": ("clang", "tests: the same bits with a second compiler"),
    "arm-none-eabi-gcc": (
        "gcc-arm-none-eabi libnewlib-arm-none-eabi",
        "the firmware for a microcontroller",
    ),
    "qemu-system-arm": ("qemu-system-arm", "the microcontroller rig"),
    "tshark": ("tshark", "tests: reads exported captures"),
}


def _tools() -> list[Check]:
    checks = []
    for tool, (packages, purpose) in TOOLS.items():
        where = shutil.which(tool)
        fix = "" if where else f"sudo apt-get install -y --no-install-recommends {packages}"
        checks.append(Check("tools", tool, where is not None, where or purpose, fix))
    return checks


def _system() -> list[Check]:
    return [_realtime(), _disk(), _data()]


def _realtime() -> Check:
    """Whether this user may use a real-time priority: tried, and taken back at once."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, policy, priority)
    except OSError:
        fix = (
            "echo '* - rtprio 50' | sudo tee /etc/security/limits.d/bms.conf   # then log in again"
        )
        detail = "not permitted; real-time runs jitter more"
        return Check("system", "real-time priority", False, detail, fix)
    return Check("system", "real-time priority", True, "permitted")


def _disk() -> Check:
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    return Check(
        "system",
        "disk",
        free_gib >= 1.0,
        f"{free_gib:.1f} GiB free here (a recorded hour takes some MiB)",
    )


def _data() -> Check:
    top = _source_tree()
    beside = top.parent / "shared" / "data" if top else Path("shared/data")
    place = Path(os.environ.get("BMS_DATA_DIR") or beside)
    if place.is_dir():
        return Check("system", "measured data", True, str(place))
    return Check(
        "system",
        "measured data",
        False,
        f"no folder {place}; only validation needs it",
        "export BMS_DATA_DIR=FOLDER",
    )
