"""Any firmware that fits ecu.h, from a shared library, in the form the compiled loop calls.

    firmware = load("./empty.so")
    firmware.address      # of an ecu_api_t (ext/common/ecu_api.h); valid while `firmware` lives

How to compile one: examples/empty_firmware/empty.c.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import NamedTuple

from bms.errors import ConfigError

ABI = 1
REQUIRED = ("ecu_abi", "ecu_version", "ecu_size", "ecu_init", "ecu_step")
SIZE_MAX = 64 << 20  # a firmware that wants more state than this is a mistake


class Probe(NamedTuple):
    """One window into a firmware's state; `offset` in bytes from its start."""

    name: str
    unit: str
    offset: int
    length: int
    dtype: str


class Library:
    """A loaded firmware: `address` of its function table, `version`, `size` of its state in
    bytes."""

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

    def probes(self) -> list[Probe]:
        """What the firmware opens, as far as it makes sense."""
        function = getattr(self._handle, "ecu_probes", None)
        if function is None:
            return []
        function.restype = ctypes.POINTER(_Probe)
        count = ctypes.c_size_t(0)
        table = function(ctypes.byref(count))
        found = []
        for k in range(count.value if table else 0):
            row = table[k]
            known = row.type < len(_DTYPES) and row.name
            if known and row.offset + row.count * int(_DTYPES[row.type][-1]) <= self.size:
                unit = (row.unit or b"").decode(errors="replace")
                name = row.name.decode(errors="replace")
                found.append(Probe(name, unit, row.offset, row.count, _DTYPES[row.type]))
        return found


class _Probe(ctypes.Structure):
    """ecu_probe_t."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("unit", ctypes.c_char_p),
        ("offset", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("type", ctypes.c_uint8),
    )


_DTYPES = ("u1", "<u2", "<u4", "<u8", "<i2", "<i4", "<i8", "<f4", "<f8")


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
