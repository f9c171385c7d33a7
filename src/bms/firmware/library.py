"""Any firmware that fits ecu.h, from a shared library, in the form the compiled loop calls.

    firmware = load("./empty.so")
    firmware.address      # of an ecu_api_t (ext/common/ecu_api.h); valid while `firmware` lives

How to compile one: examples/empty_firmware/empty.c.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from bms.errors import ConfigError

ABI = 1
REQUIRED = ("ecu_abi", "ecu_version", "ecu_size", "ecu_init", "ecu_step")
SIZE_MAX = 64 << 20  # a firmware that wants more state than this is a mistake


class Library:
    """A loaded firmware: `address` of its function table, `version`, `size` of its state in bytes."""

    def __init__(self, path: Path, handle: ctypes.CDLL) -> None:
        self._handle = handle  # keeps the library mapped
        optional = getattr(handle, "ecu_probes", None)
        names = [getattr(handle, name) for name in REQUIRED] + [optional]
        places = [ctypes.cast(f, ctypes.c_void_p).value if f is not None else 0 for f in names]
        self._table = (ctypes.c_void_p * len(places))(*places)
        self.path = path
        self.address = ctypes.addressof(self._table)
        handle.ecu_version.restype = ctypes.c_char_p
        handle.ecu_size.restype = ctypes.c_size_t
        self.version = (handle.ecu_version() or b"").decode(errors="replace")
        self.size = int(handle.ecu_size())


def load(path: str | Path) -> Library:
    """Load a shared library that fits ecu.h.

    Raises ConfigError when it cannot be loaded, lacks a function, has another ABI or a state of
    impossible size.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise ConfigError(path, "", "no such file", "a shared library that fits ecu.h")
    try:
        handle = ctypes.CDLL(str(file))
    except OSError as error:
        raise ConfigError(path, "", str(error), "a shared library for this machine") from error
    for name in REQUIRED:
        if not hasattr(handle, name):
            expected = f"a shared library that fits ecu.h: {', '.join(REQUIRED)}"
            raise ConfigError(path, name, "missing", expected)
    handle.ecu_abi.restype = ctypes.c_uint32
    abi = int(handle.ecu_abi())
    if abi != ABI:
        raise ConfigError(path, "ecu_abi", abi, f"ABI {ABI}")
    library = Library(file, handle)
    if not 0 < library.size <= SIZE_MAX:
        raise ConfigError(path, "ecu_size", library.size, f"1 to {SIZE_MAX} bytes of state")
    return library
