"""The footer of an Arrow file, written by hand, so that it needs only the places of the batches.

An Arrow file ends with a flatbuffer Footer { version, schema, dictionaries, recordBatches }, its
length and a mark (Arrow's format/File.fbs). The libraries can write it only while they write the
batches themselves; a recorder that survives a bad disk, and a repair, know the places and nothing
else. The schema in it is the one of the file's schema message: flatbuffers point by distance, so
that message is put into the footer as it is and pointed into.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

BLOCK = np.dtype([("start", "<i8"), ("metadata", "<i4"), ("pad", "<i4"), ("body", "<i8")])
MARK = b"ARROW1"


def footer(schema_message: bytes, blocks: Sequence[tuple[int, int, int]]) -> bytes:
    """Footer, its length and the mark.

    blocks: (start, bytes of prefix and metadata, bytes of body) of each batch. The result must be
    written at a place that is a multiple of 8.
    """
    size = int.from_bytes(schema_message[4:8], "little")
    message = schema_message[8 : 8 + size]
    version, schema = _schema_of(message)
    # vtable of four fields: version, schema, dictionaries (absent), recordBatches
    vtable = struct.pack("<HHHHHH", 12, 16, 4, 8, 0, 12)
    table_at = 4 + 4 + len(vtable)  # root offset, padding, vtable
    blocks_at = table_at + 16 + 8  # of the vector's length; the blocks after it at a multiple of 8
    vector = np.zeros(len(blocks), BLOCK)
    for k, (start, metadata, body) in enumerate(blocks):
        vector[k] = (start, metadata, 0, body)
    message_at = blocks_at + 4 + vector.nbytes
    pad = -message_at % 8
    schema_at = message_at + pad + schema
    table = struct.pack(
        "<ihhII",
        len(vtable), version, 0, schema_at - (table_at + 8), blocks_at - (table_at + 12),
    )  # fmt: skip
    head = struct.pack("<II", table_at, 0) + vtable + table + bytes(8)
    built = head + struct.pack("<I", len(blocks)) + vector.tobytes() + bytes(pad) + message
    built += bytes(-len(built) % 8)
    return built + struct.pack("<i", len(built)) + MARK


def _schema_of(message: bytes) -> tuple[int, int]:
    """(metadata version, place of the Schema table) in a Message."""
    (root,) = struct.unpack_from("<I", message, 0)
    (back,) = struct.unpack_from("<i", message, root)
    places = struct.unpack_from("<HHHHH", message, root - back)
    (version,) = struct.unpack_from("<h", message, root + places[2]) if places[2] else (0,)
    header = root + places[4]
    (distance,) = struct.unpack_from("<I", message, header)
    return version, header + distance
