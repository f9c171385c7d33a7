"""The pack as an FMI 3.0 co-simulation unit (FMU): the plant alone, for other people's simulators.

    export("car_96s3p", "pack.fmu")

Built by PythonFMU3: the unit holds the configuration of pack and cell and a thin slave
(`slave.py`); the plant itself is the compiled module of the `bms` that is installed in the Python
of the importing tool. Equal inputs give the bits of `bms.Simulation`.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from bms.errors import BmsError, ConfigError
from bms.model import Cell, Pack

if TYPE_CHECKING:
    from bms.plant.build import Critical

CONFIGURATION = "pack.json"
OPTIONS = {
    "canGetAndSetFMUState": True, "canSerializeFMUState": True, "needsExecutionTool": False,
    "canBeInstantiatedOnlyOncePerProcess": False, "canHandleVariableCommunicationStepSize": True,
}  # fmt: skip


def configuration(pack: Pack, cell: Cell, critical: Critical) -> bytes:
    """What the slave reads: pack and cell without their provenance, as JSON."""
    parts = {"pack": msgspec.to_builtins(pack), "cell": msgspec.to_builtins(cell)}
    for part in parts.values():
        part.pop("provenance", None)
        part.pop("file", None)
    return msgspec.json.encode({**parts, "critical": critical})


def export(
    pack: str | Path | Pack,
    out: Path,
    *,
    cell: str | Path | None = None,
    critical: Critical = "claimed",
) -> Path:
    """Write the FMU of a pack. ConfigError for a pack that cannot be, a missing package, or a
    place that cannot be written."""
    from bms import cells, packs

    try:
        from pythonfmu3.builder import FmuBuilder
    except ImportError as error:
        raise ConfigError(
            "option", "fmu", "", "the package pythonfmu3: pip install 'solid-bms[fmi]'"
        ) from error
    chosen = cells.load(cell) if cell else None
    made = pack if isinstance(pack, Pack) else packs.load(pack, chosen)
    text = configuration(made, chosen or cells.load(made.cell), critical)
    with TemporaryDirectory() as folder:
        there = Path(folder)
        (there / CONFIGURATION).write_bytes(text)
        (there / "out").mkdir()
        slave = Path(__file__).with_name("slave.py")
        try:
            unit = FmuBuilder.build_FMU(
                slave, there / "out", project_files=[there / CONFIGURATION], **OPTIONS
            )
            out.parent.mkdir(parents=True, exist_ok=True)
            part = out.with_name(f".part-{os.getpid()}-{out.name}")
            part.write_bytes(unit.read_bytes())
            part.replace(out)
        except OSError as error:
            expected = f"a place that can be written ({error.strerror})"
            raise ConfigError("option", "--out", str(out), expected) from error
        except TypeError as error:
            raise BmsError(f"{out}: PythonFMU3 cannot build the unit: {error}") from error
    return out
