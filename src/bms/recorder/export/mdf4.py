"""ASAM MDF 4: recorded signals, events, and the frames of the buses as bus logging.

asammdf, CANape, CANoe, vSignalyzer and MATLAB open the signals; the frames follow the standard's
conventions for bus events (`recorder/mdf.py`), so that such a tool decodes them with the DBC, which
is attached. Vectors are one channel a cell, name[0] and so on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bms import spec
from bms.errors import RecorderError
from bms.recorder import Frames, mdf
from bms.recorder.export import Options
from bms.recorder.export.source import Source, columns_of, payloads, samples
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, REMOTE, length_code
from bms.recorder.reader import SignalInfo

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "ASAM MDF 4"
SUFFIXES = (".mf4",)
HOLDS = ("signals", "events", "frames")
EXTRA = "export"
VERSION = "4.10"


def write(source: Source, path: Path, options: Options) -> str:
    """Everything of the source; the DBC given, or our own, is attached."""
    import asammdf

    file = asammdf.MDF(version=VERSION, temporary_folder=str(path.parent))
    try:
        file.header.start_time = _date(source.start_unix_ns)
        file.header.comment = f"solid-bms recording {source.name}"
        writer = _Signals(file)
        for batch in source.rows([info.name for info in source.signals]):
            writer.add(source.signals, batch)
        events = _events(file, source)
        log = _BusLogging(file, options.dbc or spec.DBC)
        for frames in source.frames():
            log.add(frames)
        saved = path.with_name(path.name + ".mf4")  # asammdf insists on its ending
        file.save(saved, overwrite=True, compression=2)
        saved.replace(path)
    finally:
        file.close()
    return f"{len(source.signals)} signals, {events} events, {log.count} frames"


def _date(unix_ns: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(unix_ns / 1e9, UTC)


class _Signals:
    """One channel group for each rate: its signals share their times."""

    def __init__(self, file: Any) -> None:
        self.file, self.groups = file, dict[Any, int]()

    def add(self, signals: tuple[SignalInfo, ...], batch: pa.RecordBatch) -> None:
        t_ns = batch.column("t_ns").to_numpy()
        by_rate: dict[Any, list[tuple[SignalInfo, np.ndarray]]] = {}
        times: dict[Any, np.ndarray] = {}
        for info in signals:
            at_ns, values = samples(batch.column(info.name), t_ns, info)
            if not np.array_equal(times.setdefault(info.rate, at_ns), at_ns):
                raise RecorderError(f"{info.name}: not sampled with others of rate {info.rate}")
            by_rate.setdefault(info.rate, []).append((info, values))
        for rate, rows in by_rate.items():
            self._group(rate, times[rate] / 1e9, rows)

    def _group(
        self, rate: Any, seconds: np.ndarray, rows: list[tuple[SignalInfo, np.ndarray]]
    ) -> None:
        import asammdf

        columns = [
            (name, info, np.ascontiguousarray(column))
            for info, values in rows
            for name, column in zip(
                columns_of(info), values.T if info.vector else (values,), strict=True
            )
        ]
        if rate in self.groups:
            data = [(seconds, None), *((column, None) for _, _, column in columns)]
            self.file.extend(self.groups[rate], data)
            return
        made = [
            asammdf.Signal(
                column, seconds, name=name, unit=info.unit, comment=info.text,
                conversion=_words(info.name), source=asammdf.Source(
                    info.kind, "", "solid-bms", asammdf.Source.SOURCE_ECU, 0
                ),
            )
            for name, info, column in columns
        ]  # fmt: skip
        self.groups[rate] = self.file.append(
            made, acq_name=f"signals, {rate}", common_timebase=True
        )


def _words(name: str) -> dict[str, Any] | None:
    """Value-to-text conversion of the state, None for other signals."""
    if name != "cmd_state":
        return None
    table: dict[str, Any] = {"default": b""}
    for k, (number, word) in enumerate(spec.choices("BmsState", "State").items()):
        table |= {f"val_{k}": number, f"text_{k}": word.encode()}
    return table


def _events(file: Any, source: Source) -> int:
    """A group whose channels are the columns of the list of events."""
    import asammdf

    found = list(source.events())
    if not found:
        return 0
    seconds = np.array([e.t_ns for e in found]) / 1e9
    order = np.argsort(seconds, kind="stable")
    made = []
    for field in ("kind", "name", "text"):
        texts = np.array([getattr(found[k], field).encode()[:200] or b" " for k in order])
        made.append(asammdf.Signal(texts, seconds[order], name=f"event_{field}", encoding="utf-8"))
    for field in ("index", "value"):
        numbers = np.array([getattr(found[k], field) for k in order])
        made.append(asammdf.Signal(numbers, seconds[order], name=f"event_{field}"))
    file.append(made, acq_name="events", common_timebase=True)
    return len(found)


class _BusLogging:
    """Channel groups of bus events, made when the first frame of a kind comes."""

    def __init__(self, file: Any, dbc: Path) -> None:
        self.file, self.dbc, self.groups, self.count = file, dbc, dict[str, int](), 0

    def add(self, frames: Frames) -> None:
        is_error, is_remote = (frames.flags & bit > 0 for bit in (ERROR, REMOTE))
        lengths, data = payloads(frames)
        for kind, rows in (
            (mdf.DATA, ~is_error & ~is_remote), (mdf.REMOTE, is_remote), (mdf.ERROR, is_error),
        ):  # fmt: skip
            if rows.any():
                self._extend(kind, frames, rows, lengths[rows], data[rows])
        self.count += len(frames)

    def _extend(
        self, kind: str, frames: Frames, rows: np.ndarray, lengths: np.ndarray, data: np.ndarray
    ) -> None:
        flags = frames.flags[rows]
        codes = np.array([length_code(n) for n in range(65)], np.uint8)
        table = np.zeros(lengths.size, mdf.layout(kind))
        columns = {
            "BusChannel": frames.bus[rows] + 1, "ID": frames.id[rows],
            "IDE": flags & EXTENDED, "Dir": frames.direction[rows],
            "DLC": np.where(flags & FD, codes[lengths], lengths),
            "DataLength": 0 if kind == mdf.REMOTE else lengths, "DataBytes": data,
            "EDL": flags & FD > 0, "BRS": flags & BRS > 0,
        }  # fmt: skip
        for member, values in columns.items():
            if f"{kind}.{member}" in (table.dtype.names or ()):
                table[f"{kind}.{member}"] = values
        if kind not in self.groups:
            self.groups[kind] = self._make(kind)
        self.file.extend(self.groups[kind], [(frames.t_ns[rows] / 1e9, None), (table, None)])

    def _make(self, kind: str) -> int:
        import asammdf
        from asammdf.blocks.v4_blocks import SourceInformation
        from asammdf.blocks.v4_constants import BUS_TYPE_CAN, SOURCE_BUS

        text = self.dbc.read_bytes()
        signal = asammdf.Signal(
            np.zeros(0, mdf.layout(kind)), np.zeros(0), name=kind,
            attachment=(text, Path(self.dbc.name), hashlib.md5(text).digest()),
            source=SourceInformation(source_type=SOURCE_BUS, bus_type=BUS_TYPE_CAN),
        )  # fmt: skip
        return int(self.file.append(signal, acq_name="CAN"))
