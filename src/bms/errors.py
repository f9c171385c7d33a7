"""What can go wrong, as exceptions.

BmsError
├── ConfigError     a file or option cannot be: names file, key, value, expectation
├── LinkError       a port, socket or bus cannot be opened or was lost
└── RecorderError   a recording cannot be written or read

Bytes from outside never raise: decoders return counted `Malformed` values instead. The command line
turns a BmsError into one message on stderr and its `exit_code`."""

from __future__ import annotations


class BmsError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class ConfigError(BmsError):
    """A configuration value is wrong. Always says where, what was found and what was expected.

    >>> str(ConfigError("cell.toml", "ocv.voltage_v", [3.1, 3.0], "rising values"))
    'cell.toml: ocv.voltage_v: got [3.1, 3.0], expected rising values'
    """

    exit_code = 2

    def __init__(self, file: object, key: str, value: object, expected: str) -> None:
        self.file, self.key, self.value, self.expected = str(file), key, value, expected
        where = f"{file}: {key}" if key else str(file)
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{where}: got {shown}, expected {expected}")


class LinkError(BmsError):
    """A serial port, socket or CAN interface failed."""

    exit_code = 3


class RecorderError(BmsError):
    """A recording could not be written or read."""

    exit_code = 4
