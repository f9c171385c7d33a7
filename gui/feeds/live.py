"""A bus, listened to: what a pack on it says of itself, and every frame.

The bus may come and go. What is not heard goes grey and then unknown, and the message says what to
look at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from bms_gui.hearing import Hearing, Piece
from bms_gui.keeping import Keeping
from bms_gui.samples import Samples
from bms_gui.snapshot import Frames, Snapshot, Status
from bms_gui.transmit import Schedule

from bms import links
from bms.errors import BmsError
from bms.protocols import codec, dbc

BATCH = 4096
BATCHES_A_PUMP = 8
HOUR_TICKS = 360_000
QUIET_S = 2.0
JUDGED_AFTER = 50
OFFERS = frozenset({"pause", "step", "seek", "loop", "speed", "transmit", "record"})
PLAIN = ("time_s", "id", "bus", "direction", "flags", "length", "data")


class LiveFeed:
    """url: of a CAN bus, see bms.links. dbc_path: a database other than our own. bitrate: bit/s of
    an adapter that we set. ConfigError for what cannot be a bus or a database."""

    def __init__(self, url: str, dbc_path: str | Path | None = None, bitrate: int = 0) -> None:
        self.url, self.database = url, Path(dbc_path).name if dbc_path else "bms.dbc"
        self.hearing = Hearing(codec.load(Path(dbc_path)) if dbc_path else dbc.codec())
        self.link = links.open(url, bitrate=bitrate or None, ring=1 << 16)
        self._began_s = time.monotonic()
        self._batch = np.zeros(BATCH, links.FRAME_DTYPE)
        self._codes = self._senders()
        self._samples: Samples | None = None
        self._events: list[Any] = []
        self._now_s = 0.0
        self._last_frame_s = -1.0
        self._seen = 0
        self._rate = 0.0
        self._keeping: Keeping | None = None
        self._schedule = Schedule()
        self._message, self._said_s = "", -1e9

    def _senders(self) -> frozenset[int]:
        """Identifiers the BMS sends, so that a direction can be told."""
        messages = self.hearing.codec.by_identifier
        return frozenset(number for number, m in messages.items() if "BMS" in m.senders)

    def pump(self) -> bool:
        """Takes what has come; never waits."""
        before_s, self._now_s = self._now_s, time.monotonic() - self._began_s
        taken: list[np.ndarray] = []
        for _ in range(BATCHES_A_PUMP):
            try:
                count = self.link.receive_batch(self._batch, timeout_s=0.0)
            except BmsError as error:
                self.say(str(error))
                break
            if count:
                taken.append(self._batch[:count].copy())
            if count < BATCH:
                break
        frames = self._frames(np.concatenate(taken) if taken else self._batch[:0])
        new = len(frames.id)
        passed_s = max(1e-3, self._now_s - before_s)
        self._rate += min(1.0, passed_s) * (new / passed_s - self._rate)
        self.take(frames)
        sent = self._send_due()
        if sent is not None and self._samples is not None:
            self._samples.add(Piece(_NONE, {}, _NONE, {}, sent, ()))
        return True

    def take(self, frames: Frames) -> None:
        """Frames as they came, and the time that has passed."""
        if len(frames.id):
            self._seen += len(frames.id)
            self._last_frame_s = self._now_s
        piece = self.hearing.hear(frames, self._now_s)
        if self._samples is None:
            self._samples = Samples(
                dict.fromkeys(self.hearing.scalars, 1),
                dict.fromkeys(self.hearing.vectors, 0),
                HOUR_TICKS,
            )
        self._samples.add(piece)
        self._samples.heard_s.update(self.hearing.heard_s)
        self._events += piece.events
        self._keep(piece)

    def _frames(self, batch: np.ndarray) -> Frames:
        time_s = batch["time_us"] * 1e-6 - self._began_s
        identifier = batch["id"].astype(np.uint32)
        ours = np.isin(identifier, np.fromiter(self._codes, np.uint32, len(self._codes)))
        return Frames(
            np.minimum(time_s, self._now_s), identifier, np.zeros(len(batch), np.uint8),
            ours.astype(np.uint8), batch["flags"], np.minimum(batch["length"], 8),
            batch["data"][:, :8],
        )  # fmt: skip

    # ---- what is said ----

    def say(self, text: str) -> None:
        """A message for some seconds."""
        self._message, self._said_s = text, self._now_s

    def _status(self) -> Status:
        recording = str(self._keeping.path) if self._keeping else ""
        state, text = "running", self._message if self._now_s - self._said_s < 8.0 else ""
        quiet_s = self._now_s - self._last_frame_s
        if self.link.state != "up":
            state, text = "waiting", f"{self.url}: {self.link.reason or self.link.state}."
        elif self._seen == 0 and self._now_s > QUIET_S:
            state, text = (
                "waiting",
                (f"{self.url} is up, but no frame has come: is the pack on, the bit rate right?"),
            )
        elif self._seen and quiet_s > QUIET_S:
            state, text = "waiting", f"No frame for {quiet_s:.0f} s: the bus died, or the pack."
        else:
            text = text or self._doubt()
        counters = self.link.counters
        lost = counters["rx_dropped"] + counters["tx_dropped"]
        detail = f"{self._rate:.0f} frames/s" + (f", {lost} lost" if lost else "")
        return Status(state, text, 1.0, 1.0, recording, detail)

    def _doubt(self) -> str:
        """Whether the database is another than the bus's, in words."""
        return doubt(self.hearing, self.database)

    def snapshot(self) -> Snapshot:
        """As it is now."""
        samples = self._samples
        if samples is None:
            return Snapshot(self.url, "live", status=self._status(), offers=OFFERS)
        return Snapshot(
            title=self.title,
            source="live",
            time_s=self._now_s,
            span_s=(samples.span_s[0], self._now_s),
            shape=self.hearing.shape,
            book=self.hearing.book,
            signals=self.hearing.signals(),
            latest=samples.latest,
            heard_s=samples.heard_s,
            events=self._events,
            frames=samples.frames(),
            status=self._status(),
            offers=self.offers,
            data=samples,
        )

    @property
    def title(self) -> str:
        """Of the window."""
        return self.url

    @property
    def offers(self) -> frozenset[str]:
        """See snapshot.COMMANDS."""
        return OFFERS

    # ---- what can be asked ----

    def ask(self, word: str, *arguments: Any) -> None:
        """Frames to send, and a recording."""
        if word == "transmit":
            self._schedule.use(arguments[0], self._now_s)
        if word == "record":
            self._record(str(arguments[0]))

    def _send_due(self) -> Frames | None:
        """What of the transmit list is due, sent."""
        sent = []
        for job, data in self._schedule.due(self._now_s):
            try:
                frame = links.Frame(job.id, data, extended=job.extended)
                taken = self.link.send(frame)
            except (BmsError, ValueError) as error:
                self.say(f"{job.id:X} was not sent: {error}")
                continue
            if taken:
                sent.append((job.bus, job.id, bytes(data)[:8], job.extended))
            else:
                self.say(f"{job.id:X} was not sent: the link is not up or has no room.")
        return _sent(sent, self._now_s) if sent else None

    def _record(self, path: str) -> None:
        if self._keeping is not None:
            trouble = self._keeping.close()
            self.say(trouble or f"Recorded: {self._keeping.path}")
            self._keeping = None
        if path:
            try:
                self._keeping = Keeping(path, self.hearing, self.url)
            except (BmsError, OSError) as error:
                self.say(str(error))

    def _keep(self, piece: Piece) -> None:
        if self._keeping is not None:
            self._keeping.add(piece)

    def close(self) -> None:
        """Leaves the bus."""
        self._record("")
        self.link.close()


_NONE = np.zeros(0)


def _sent(sent: list[tuple[int, int, bytes, bool]], time_s: float) -> Frames:
    n = len(sent)
    data = np.zeros((n, 8), np.uint8)
    for k, (_, _, content, _) in enumerate(sent):
        data[k, : len(content)] = list(content)
    return Frames(
        np.full(n, time_s), np.array([s[1] for s in sent], np.uint32),
        np.array([s[0] for s in sent], np.uint8), np.full(n, 2, np.uint8),
        np.array([s[3] for s in sent], np.uint8),
        np.array([len(s[2]) for s in sent], np.uint8), data,
    )  # fmt: skip


def doubt(hearing: Hearing, database_name: str) -> str:
    """Why values may stay empty: "" or a sentence that says what to do."""
    if hearing.is_foreign:
        return (
            f"{database_name} has none of the messages a pack of ours sends: frames are shown, "
            "values stay empty. Connect without a database to use our own."
        )
    strangers = sum(hearing.strangers.values())
    if hearing.known == 0 and strangers >= JUDGED_AFTER:
        some = ", ".join(f"0x{number:X}" for number in sorted(hearing.strangers)[:4])
        return (
            f"Frames come ({some} …), none of them is in {database_name}: another database or "
            "another bus?"
        )
    for name, count in hearing.misfits.items():
        if count >= 20 and hearing.believed < hearing.known / 2:
            return (
                f"{name} does not fit {database_name}: {count} frames had another length or a "
                "wrong check. The pack was made with another database."
            )
    return ""
