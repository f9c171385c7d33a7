# distutils: sources = ext/recorder/record.c ext/recorder/steps.c ext/recorder/fold.c
"""The recorder's buffers and the C side that fills them (ext/recorder/record.h).

`Recorder(sources, ...)` owns a recorder_t; its `address` is what the compiled loop takes. `Batch` is one set of buffers, as
NumPy arrays: `install` puts one under the pen, `take` says how far it was written. Two or three batches make a pipeline in
which a thread writes one to disk while the loop fills the next. Use bms.recorder.Writer; this module checks only what would
otherwise corrupt memory.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

cdef extern from "ecu.h":
    ctypedef struct ecu_can_frame_t:
        uint32_t id
        uint8_t bus, length, flags
        uint8_t data[64]
    ctypedef struct ecu_boot_t:
        uint64_t now_us
        uint8_t reset_cause
        uint8_t entropy[16]

cdef extern from "recorder/fold.h" nogil:
    ctypedef struct fold_column_t:
        const void *values
        const int64_t *rows
        uint32_t type, width, count, has_missing
        double scale, offset
        int64_t missing
    void fold_column_c "fold_column"(const fold_column_t *column, uint32_t first, uint32_t group, float *bins, uint32_t bin_count)

cdef extern from "recorder/record.h" nogil:
    ctypedef struct record_source_t:
        const void *from_ "from"
        void *to
        double scale, shift
        uint32_t type, count, how

    ctypedef struct record_log_t:
        int64_t *t_ns
        uint32_t *id
        uint8_t *bus
        uint8_t *direction
        uint8_t *flags
        int32_t *offset
        uint8_t *bytes
        int32_t *end
        uint32_t count, capacity, byte_count, byte_capacity
        uint64_t dropped

    ctypedef struct record_steps_t:
        uint8_t *bytes
        int32_t *end
        uint32_t count, capacity, is_keyed
        uint64_t dropped

    ctypedef struct recorder_t:
        record_source_t *sources
        int64_t *t_ns
        uint32_t source_count, ticks, capacity
        uint64_t dropped
        record_log_t frames, uart
        record_steps_t steps

    enum:
        RECORD_FLOAT, RECORD_AS_IS, RECORD_RASTER_16, RECORD_RASTER_32
    uint32_t record_tick(recorder_t *r, uint64_t now_us)
    void record_frame(recorder_t *r, uint64_t t_us, const ecu_can_frame_t *f, uint8_t direction)
    void record_bytes(recorder_t *r, uint64_t t_us, uint8_t direction, const uint8_t *bytes, uint16_t count)
    void record_boot(recorder_t *r, uint64_t number, const ecu_boot_t *boot)

# In the order of FIELD_u8 ... FIELD_f64 of field.h.
_TYPES = {np.dtype(name): k for k, name in enumerate(("u1", "u2", "u4", "u8", "i2", "i4", "i8", "f4", "f8"))}


class Log:
    """Buffers of one log: parallel arrays of `capacity` records, and their bytes back to back."""

    def __init__(self, int ticks, int capacity, int byte_capacity):
        self.capacity, self.byte_capacity = capacity, byte_capacity
        self.t_ns = np.zeros(capacity, np.int64)
        self.id = np.zeros(capacity, np.uint32)
        self.bus = np.zeros(capacity, np.uint8)
        self.direction = np.zeros(capacity, np.uint8)
        self.flags = np.zeros(capacity, np.uint8)
        self.offset = np.zeros(capacity + 1, np.int32)
        self.bytes = np.zeros(byte_capacity, np.uint8)
        self.end = np.zeros(ticks, np.int32)


class Batch:
    """Buffers for `ticks` rows. `columns[k]` has shape (ticks, count of source k). `steps` is bytes of the firmware's steps (or
    None), `steps_end` of each tick how many there were then."""

    def __init__(self, int ticks, list sources, tuple frames, tuple uart, int step_bytes):
        self.ticks = ticks
        self.t_ns = np.zeros(ticks, np.int64)
        self.columns = [np.zeros((ticks, source[0].size), stored_dtype(*source)) for source in sources]
        self.frames = Log(ticks, *frames) if frames[0] else None
        self.uart = Log(ticks, *uart) if uart[0] else None
        self.steps = np.zeros(step_bytes, np.uint8) if step_bytes else None
        self.steps_end = np.zeros(ticks if step_bytes else 0, np.int32)


def stored_dtype(array, double scale, double shift, raster=""):
    """The dtype a source is stored as: that of its raster ("i2", "i4"), its own if it is an unscaled integer, else float32."""
    if raster:
        return np.dtype(raster)
    return array.dtype if array.dtype.kind in "iu" and scale == 1.0 and shift == 0.0 else np.dtype("f4")


def fold(values, rows, int width, int first, int group, bins, double scale=1.0, double offset=0.0, missing=None):
    """Join a column into `bins`, float32 of shape (bins, 2), least and most (ext/recorder/fold.h).

    values: contiguous, `width` a sample. rows: int64 rows of the samples, None for 0, 1, 2 ... first: row 0 counted from the row
    where bins begin. missing: an integer that is no value.
    """
    cdef fold_column_t c
    cdef int64_t[::1] place
    cdef float[:, ::1] out = bins
    if values.dtype not in _TYPES or not values.flags.c_contiguous or values.size % width or out.shape[1] != 2 or group < 1 or first < 0:
        raise ValueError("fold: a column of another shape or type")
    if values.size == 0 or out.shape[0] == 0:
        return
    c.values = <const void *><uintptr_t>values.ctypes.data
    c.type, c.width, c.count = _TYPES[values.dtype], width, values.size // width
    c.rows = NULL
    if rows is not None:
        if len(rows) != values.size // width:
            raise ValueError("fold: a row for each sample")
        place = rows
        c.rows = &place[0]
    c.scale, c.offset = scale, offset
    c.has_missing, c.missing = missing is not None, 0 if missing is None else missing
    fold_column_c(&c, first, group, &out[0, 0], out.shape[0])


cdef void _point(record_log_t *log, buffers):
    """Lets a log write into `buffers` (a Log, or None: not recorded)."""
    log.count = log.byte_count = 0
    if buffers is None:
        log.capacity = log.byte_capacity = 0
        return
    log.t_ns = <int64_t *><uintptr_t>buffers.t_ns.ctypes.data
    log.id = <uint32_t *><uintptr_t>buffers.id.ctypes.data
    log.bus = <uint8_t *><uintptr_t>buffers.bus.ctypes.data
    log.direction = <uint8_t *><uintptr_t>buffers.direction.ctypes.data
    log.flags = <uint8_t *><uintptr_t>buffers.flags.ctypes.data
    log.offset = <int32_t *><uintptr_t>buffers.offset.ctypes.data
    log.bytes = <uint8_t *><uintptr_t>buffers.bytes.ctypes.data
    log.end = <int32_t *><uintptr_t>buffers.end.ctypes.data
    log.capacity = buffers.capacity
    log.byte_capacity = buffers.byte_capacity


cdef class Recorder:
    """The C side. `sources` is a list of (array, scale, shift) or (array, scale, shift, "i2" or "i4": on a raster, of which scale and
    shift give the number of the step); the arrays must be contiguous and stay where they are.

    `frames` and `uart` are (records, bytes) a batch; (0, 0) leaves them out. `step_bytes` is the room for the firmware's steps.
    """

    cdef recorder_t r
    cdef readonly list sources
    cdef readonly tuple frames, uart
    cdef readonly object batch
    cdef readonly int ticks, step_bytes

    def __cinit__(self, list sources, int ticks, tuple frames=(0, 0), tuple uart=(0, 0), int step_bytes=0):
        self.sources, self.ticks, self.frames, self.uart, self.step_bytes = list(sources), ticks, frames, uart, step_bytes
        for array, *_ in self.sources:
            if array.dtype not in _TYPES or not array.flags.c_contiguous or array.size == 0:
                raise ValueError(f"cannot record an array of {array.dtype} with shape {array.shape}, strides {array.strides}")
        self.r.sources = <record_source_t *>calloc(max(1, len(sources)), sizeof(record_source_t))
        if self.r.sources == NULL:
            raise MemoryError
        self.r.source_count = len(self.sources)
        for k, (array, scale, shift, *raster) in enumerate(self.sources):
            self.r.sources[k].from_ = <const void *><uintptr_t>array.ctypes.data
            self.r.sources[k].scale = scale
            self.r.sources[k].shift = shift
            self.r.sources[k].type = _TYPES[array.dtype]
            self.r.sources[k].count = array.size
            stored = stored_dtype(array, scale, shift)
            if raster and raster[0]:
                self.r.sources[k].how = RECORD_RASTER_16 if raster[0] == "i2" else RECORD_RASTER_32
            elif stored != np.float32 or array.dtype == np.float32 and scale == 1.0 and shift == 0.0:
                self.r.sources[k].how = RECORD_AS_IS
            else:
                self.r.sources[k].how = RECORD_FLOAT
        self.install(self.new_batch())

    def __dealloc__(self):
        free(self.r.sources)

    def new_batch(self):
        return Batch(self.ticks, self.sources, self.frames, self.uart, self.step_bytes)

    def install(self, batch):
        """Lets the C side write into `batch` (of new_batch) from its first row on."""
        self.r.t_ns = <int64_t *><uintptr_t>batch.t_ns.ctypes.data
        for k in range(self.r.source_count):
            self.r.sources[k].to = <void *><uintptr_t>batch.columns[k].ctypes.data
        _point(&self.r.frames, batch.frames)
        _point(&self.r.uart, batch.uart)
        self.r.steps.count = self.r.steps.is_keyed = 0
        self.r.steps.capacity = self.step_bytes
        if self.step_bytes:
            self.r.steps.bytes = <uint8_t *><uintptr_t>batch.steps.ctypes.data
            self.r.steps.end = <int32_t *><uintptr_t>batch.steps_end.ctypes.data
        self.r.ticks = 0
        self.r.capacity = batch.ticks
        self.batch = batch

    def filled(self):
        """(rows, frames, pieces of serial data) written into the installed batch so far."""
        return self.r.ticks, self.r.frames.count, self.r.uart.count

    @property
    def step_count(self):
        """Bytes of steps written into the installed batch so far."""
        return self.r.steps.count

    @property
    def steps_dropped(self):
        """Steps that found no room since the beginning."""
        return self.r.steps.dropped

    def dropped(self):
        """(ticks, frames, pieces of serial data) that found no room since the beginning."""
        return self.r.dropped, self.r.frames.dropped, self.r.uart.dropped

    @property
    def address(self):
        """Where the recorder_t is, for the compiled loop."""
        return <uintptr_t>&self.r

    def tick(self, uint64_t now_us):
        """One row, from Python. True when the batch is full."""
        return record_tick(&self.r, now_us) != 0

    def ticks_until_full(self, uint64_t now_us, uint64_t period_us=10000):
        """Rows until the batch is full, without the GIL: what the loop does, for measuring. Returns the next time."""
        with nogil:
            while record_tick(&self.r, now_us) == 0:
                now_us += period_us
        return now_us + period_us

    def ticks_from(self, const double[:, ::1] rows, double[::1] live, uint64_t now_us, uint64_t period_us=10000):
        """Copy row after row into `live` and record it, without the GIL, until the batch or the rows end: (rows, last time)."""
        cdef Py_ssize_t k = 0
        cdef size_t bytes_of_row = <size_t>rows.shape[1] * sizeof(double)
        cdef uint32_t full = 0
        if rows.shape[1] != live.shape[0]:
            raise ValueError("rows of another length")
        with nogil:
            while k < rows.shape[0] and full == 0:
                memcpy(&live[0], &rows[k, 0], bytes_of_row)
                now_us += period_us
                full = record_tick(&self.r, now_us)
                k += 1
        return k, now_us

    def frames_until_full(self, uint64_t now_us, uint32_t each, int64_t most):
        """`each` frames a tick, without the GIL, until the batch is full or `most` were recorded: (frames, last time)."""
        cdef ecu_can_frame_t f
        cdef int64_t count = 0
        cdef uint32_t full = 0, k
        with nogil:
            memset(&f, 0, sizeof(f))
            f.length = 8
            while count < most and full == 0:
                now_us += 10000
                for k in range(each):
                    f.id = 0x100 + k
                    memcpy(f.data, &count, 8)
                    record_frame(&self.r, now_us, &f, 1)
                    count += 1
                full = record_tick(&self.r, now_us)
        return count, now_us

    def frame(self, uint64_t t_us, int bus, int direction, uint32_t identifier, int flags, bytes data):
        """One CAN frame, from Python (a bridge or a bench without the compiled loop)."""
        cdef ecu_can_frame_t f
        if len(data) > 64:
            raise ValueError(f"a frame carries at most 64 bytes, not {len(data)}")
        f.id, f.bus, f.flags, f.length = identifier, bus, flags, len(data)
        for k in range(len(data)):
            f.data[k] = data[k]
        record_frame(&self.r, t_us, &f, direction)

    def boot(self, uint64_t number, uint64_t now_us, int cause, bytes entropy):
        """The firmware is initialised before its step `number`, from Python."""
        cdef ecu_boot_t boot
        boot.now_us, boot.reset_cause = now_us, cause
        for k in range(16):
            boot.entropy[k] = entropy[k]
        record_boot(&self.r, number, &boot)

    def line(self, uint64_t t_us, int direction, bytes data):
        """One piece of serial data, from Python."""
        record_bytes(&self.r, t_us, direction, data, min(len(data), 0xFFFF))
