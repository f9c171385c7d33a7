"""How late a tick of 10 ms is in real time: part of the benchmark `links`.

Ours is the whole of `bms emulate` with its recorder on: plant, chips, an in-process CAN bus, a
pseudo-terminal, and Python beside it looking after phases and files. The peer is the loop that
people write: work, then `time.sleep` for the period, in a process with an application's heap (200
000 small dicts), each tick building 400 more as message handling does. The limit is our runner with
steps that do nothing.
"""

from __future__ import annotations

import gc
import io
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bms import _realtime
from bms.bench import Row
from bms.realtime.emulate import EmulateService, Emulation
from bms.realtime.service import PRIORITY
from bms.realtime.status import Teller, lateness

SECONDS, LONG_S = 20.0, 600.0
BESIDE_S = 12.0  # at least a thousand ticks for a quantile of a thousandth
PERIOD_S = 0.01
HEAP, WORK = 200_000, 400


def ours(seconds: float) -> dict[str, Any]:
    """Lateness of an emulated pack with its recorder on."""
    with tempfile.TemporaryDirectory(prefix="bms-") as folder:
        service = EmulateService(
            Emulation("bench_16s1p"), afe="pty", can=["inproc:ticks"],
            teller=Teller(True, io.StringIO()), link=Path(folder) / "afe",
            record=Path(folder) / "run.arrow", duration_s=seconds,
        )  # fmt: skip
        service.serve()
    found: dict[str, Any] = service.summary["realtime"]
    return found


def limit(seconds: float) -> dict[str, Any]:
    """Lateness of steps that do nothing."""
    runner = _realtime.Runner()
    thread = threading.Thread(target=runner.run, args=(PRIORITY,))
    thread.start()
    time.sleep(seconds)
    runner.stop()
    thread.join()
    return lateness(runner.pace)


def peer(seconds: float) -> dict[str, Any]:
    """Lateness of a Python loop that sleeps a period after its work, measured against the end of
    its last tick, and ticks that came a whole period late."""
    heap = [{"k": [k]} for k in range(HEAP)]
    keep: list[Any] = []
    late_us = []
    due_s = time.monotonic() + PERIOD_S
    for _ in range(int(seconds / PERIOD_S)):
        time.sleep(PERIOD_S)
        now_s = time.monotonic()
        late_us.append(1e6 * (now_s - due_s))
        due_s = now_s + PERIOD_S
        keep.append([{"id": k, "data": [k, k + 1]} for k in range(WORK)])
        if len(keep) > 50:
            keep.clear()
    del heap
    missed = sum(late > 1e6 * PERIOD_S for late in late_us)
    return {"late_p999_us": float(np.quantile(late_us, 0.999)), "overruns": missed}


def tick_rows(is_long: bool) -> list[Row]:
    """Lateness (99.9 of 100 ticks are better) and ticks that were missed altogether."""
    spans: list[tuple[Callable[[float], dict[str, Any]], float]] = [
        (peer, BESIDE_S),
        (limit, BESIDE_S),
        (ours, LONG_S if is_long else SECONDS),
    ]
    found = {}
    for work, seconds in spans:
        gc.collect()
        found[work] = work(seconds)
    return [
        Row(
            name="tick_lateness_p999_us", ours=found[ours]["late_p999_us"], unit="us",
            better="lower", peer=found[peer]["late_p999_us"], peer_name="time.sleep loop",
            limit=found[limit]["late_p999_us"], limit_source="the same thread without work",
        ),
        Row(
            name="tick_overruns", ours=float(found[ours]["overruns"]), unit="1", better="lower",
            peer=float(found[peer]["overruns"]), peer_name="time.sleep loop, a period late",
        ),
    ]  # fmt: skip
