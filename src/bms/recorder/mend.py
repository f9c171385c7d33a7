"""Gives a cut or damaged recording its end back."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from bms.errors import RecorderError
from bms.recorder import container
from bms.recorder.directory import Overview
from bms.recorder.disk import Disk
from bms.recorder.file import Block, Encoder, RecordingFile
from bms.recorder.pyramid import Pyramid, columns_of
from bms.recorder.reader import Recording
from bms.recorder.tail import tail_of


def repair(path: str | Path, disk: Disk | None = None) -> tuple[int, int]:
    """Make a cut or damaged recording whole again, in place: (batches kept, bytes lost).

    What its tail has is joined to it, the overview is made anew. A whole one is left as it is.
    Batches that are whole are not touched, so an interruption costs nothing. Raises RecorderError
    when nothing can be kept or when the file is still being written.
    """
    path, disk = Path(path), disk or Disk()
    with Recording.open(path) as rec:
        places = rec.layout.places
        keep = [k for k in range(len(places)) if rec.is_whole(k)]
        damaged = sum(p.size for k, p in enumerate(places) if k not in set(keep))
        lost = rec.lost_bytes + damaged
        if rec.is_complete and not damaged:
            return len(keep), 0
        blocks = [_block(rec, k) for k in keep if not places[k].in_tail]
        file = RecordingFile.resume(path, rec.layout.schema_message, blocks, disk)
        try:
            rows = [_rows(rec, k) for k in keep if places[k].in_tail]
            if rows:
                batch = pa.concat_batches(rows)
                file.append(_encoder(rec).message(batch), batch)
            file.finish(_overview(rec, keep, path.parent))
            disk.unlink(tail_of(path))
        except (OSError, pa.ArrowException) as error:
            raise RecorderError(f"{path}: cannot repair: {error}") from error
        finally:
            file.close()
    return len(file.blocks), lost


def _rows(rec: Recording, k: int) -> pa.RecordBatch:
    return next(rec.batches_of([k], raw=True))


def _block(rec: Recording, k: int) -> Block:
    place, t_ns = rec.layout.places[k], next(rec.batches_of([k], ["t_ns"])).column(0)
    first, last = t_ns[0].as_py(), t_ns[len(t_ns) - 1].as_py()
    return Block(place.start, place.size, len(t_ns), first, last)


def _encoder(rec: Recording) -> Encoder:
    """Messages that fit the file's own schema message."""
    unsealed = {**rec.schema.metadata, container.CHECK_KEY.encode(): container.CHECK_EMPTY}
    return Encoder(rec.schema.with_metadata(unsealed))


def _overview(rec: Recording, keep: list[int], folder: Path) -> Overview:
    pyramid = Pyramid(columns_of(rec.signals.values()), folder)
    for batch in rec.batches_of(keep, ["t_ns", *rec.signals], raw=True):
        pyramid.add(batch)
    return pyramid.finish()
