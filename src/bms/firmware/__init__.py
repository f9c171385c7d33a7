"""Python face of the firmware: what it is told, and any other firmware that fits the same socket.

config.build(cell, pack)   the bytes of bms_config_t, with a ConfigError for what cannot be
library.load(path)         a shared library that fits ecu.h, as a table of functions
api_address()              the same table for our own firmware, compiled into bms._firmware

The firmware itself is ext/firmware; start with bms.h there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bms._firmware import Firmware
    from bms.firmware import config, library

__all__ = ["Firmware", "api_address", "config", "library"]


def api_address() -> int:
    """Address of the ecu_api_t of our own firmware."""
    from bms import _firmware

    return int(_firmware.api_address())


def __getattr__(name: str) -> object:
    import importlib

    if name == "Firmware":
        return importlib.import_module("bms._firmware").Firmware
    if name in ("config", "library", "tables"):
        return importlib.import_module(f"bms.firmware.{name}")
    raise AttributeError(f"module 'bms.firmware' has no attribute {name!r}")
