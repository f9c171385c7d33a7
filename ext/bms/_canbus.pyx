# distutils: sources = ext/canbus/canbus.c ext/canbus/length.c ext/canbus/confine.c ext/canbus/trouble.c ext/canbus/pump.c
"""One CAN bus with its physics, in virtual or in real time: see ext/canbus/canbus.h, and bms.canbus for its Python face."""

include "fields.pxi"

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "ecu.h":
    ctypedef struct ecu_can_frame_t:
        uint32_t id
        uint8_t bus, length, flags, reserved
        uint8_t data[64]
    enum:
        ECU_CAN_REMOTE, ECU_CAN_ERROR

cdef extern from "canbus/pump.h" nogil:
    ctypedef struct canbus_state_t:
        uint64_t now_ns
    ctypedef struct canbus_t:
        canbus_state_t s
    ctypedef struct canbus_event_t:
        uint32_t kind, node, receivers, outcome
        uint64_t time_ns
        const ecu_can_frame_t *frame
    ctypedef struct canbus_length_t:
        uint32_t head, fast, tail
    const field_t canbus_fields[]
    const size_t canbus_field_count
    enum:
        CANBUS_NODES, CANBUS_QUEUE, CANBUS_STRANGER
    void canbus_init(canbus_t *)
    bint canbus_put(canbus_t *, uint32_t, const ecu_can_frame_t *)
    bint canbus_next(canbus_t *, uint64_t, canbus_event_t *)
    void canbus_look(canbus_t *)
    void canbus_reset_node(canbus_t *, uint32_t)
    uint8_t canbus_node_state(const canbus_t *, uint32_t)
    canbus_length_t canbus_frame_length(const ecu_can_frame_t *)
    uint32_t canbus_key(const ecu_can_frame_t *)
    void canbus_tidy(ecu_can_frame_t *)

    ctypedef struct link_t:
        pass
    ctypedef struct link_api_t:
        pass
    ctypedef struct canbus_pump_t:
        canbus_t bus
        const link_api_t *api
        link_t *link[8]
        uint64_t carried, error_frames
        uint32_t stop
    void canbus_pump_run(canbus_pump_t *, uint32_t)

NODES, QUEUE, STRANGER = CANBUS_NODES, CANBUS_QUEUE, CANBUS_STRANGER
FRAME, ERROR, OFF, BACK = 1, 2, 3, 4


def describe():
    """[(name, unit, text, offset, count, dtype)] of every field of a bus."""
    return _describe(canbus_fields, canbus_field_count)


cdef ecu_can_frame_t _frame(uint32_t id, const uint8_t[::1] data, uint32_t flags, int length) except *:
    cdef ecu_can_frame_t f
    if len(data) > 64 or length > 64:
        raise ValueError("a frame has at most 64 bytes")
    memset(&f, 0, sizeof(f))
    f.id = id
    f.flags = <uint8_t>flags
    f.length = <uint8_t>(len(data) if length < 0 else length)
    if len(data):
        memcpy(f.data, &data[0], len(data))
    canbus_tidy(&f)
    return f


def frame_length(uint32_t id, const uint8_t[::1] data not None=b"", uint32_t flags=0, int length=-1):
    """Bits from start of frame to end of frame: (at the nominal rate, at the data rate, at the nominal rate again)."""
    cdef ecu_can_frame_t f = _frame(id, data, flags, length)
    cdef canbus_length_t bits = canbus_frame_length(&f)
    return bits.head, bits.fast, bits.tail


def bits_of(frames):
    """Bits of many frames with their intermissions: (at the nominal rate, at the data rate). frames: array of links.FRAME_DTYPE;
    error frames count as 23 bits."""
    cdef const uint8_t[:, ::1] rows
    cdef ecu_can_frame_t f
    cdef canbus_length_t bits
    cdef uint64_t nominal = 0, fast = 0
    cdef Py_ssize_t k
    if frames.dtype.itemsize != 8 + sizeof(ecu_can_frame_t):
        raise TypeError("expected an array of links.FRAME_DTYPE")
    if not len(frames):
        return 0, 0
    rows = np.ascontiguousarray(frames).view(np.uint8).reshape(len(frames), -1)
    for k in range(rows.shape[0]):
        memcpy(&f, &rows[k, 8], sizeof(f))
        if f.flags & ECU_CAN_ERROR:
            nominal += 23
            continue
        canbus_tidy(&f)
        bits = canbus_frame_length(&f)
        nominal += bits.head + bits.tail + 3
        fast += bits.fast
    return nominal, fast


def arbitration_key(uint32_t id, uint32_t flags=0):
    """Of two frames that start together the one with the smaller key goes on."""
    cdef ecu_can_frame_t f = _frame(id, b"", flags, -1)
    return canbus_key(&f)


cdef class Bus:
    """A bus of up to 8 nodes. `state` holds live arrays of every field; see describe().

    Settings among them (bitrate_bps, members_mask, fifo_mask ...) count from `start` on, faults from the next call.
    """

    cdef canbus_pump_t *p
    cdef object memory, running
    cdef public dict state

    def __init__(self):
        self.memory = np.zeros(sizeof(canbus_pump_t) // 8 + 1, np.uint64)  # shared with the arrays of `state`
        self.p = <canbus_pump_t *><uintptr_t>self.memory.ctypes.data
        self.state = _views(self.memory, 0, canbus_fields, canbus_field_count)

    def start(self):
        """Empty queues, counters at zero, time at zero."""
        self._idle()
        canbus_init(&self.p.bus)

    cdef int _idle(self) except -1:
        if self.running is not None:
            raise RuntimeError("the bus runs in real time: only its state may be touched")
        return 0

    cdef int _node(self, uint32_t node) except -1:
        if node >= CANBUS_NODES:
            raise ValueError(f"node {node}: 0 to {CANBUS_NODES - 1}")
        return self._idle()

    def put(self, uint32_t node, uint32_t id, const uint8_t[::1] data not None=b"", uint32_t flags=0, int length=-1):
        """A frame wants to leave now; False if it was dropped. flags: bits of ecu.h (1 extended, 2 remote, 4 FD, 8 rate switch)."""
        self._node(node)
        cdef ecu_can_frame_t f = _frame(id, data, flags, length)
        return canbus_put(&self.p.bus, node, &f)

    def run(self, uint64_t until_ns):
        """Everything up to until_ns: [(kind, node, time_ns, receivers, outcome, id, flags, data)].

        kind FRAME: carried, heard by the nodes of the mask `receivers`. ERROR: an attempt of `node` failed with `outcome`
        (1 bit error, 2 no acknowledge, 3 destroyed by a node that misread it). OFF, BACK: `node` went bus-off, came back.
        """
        cdef canbus_event_t e
        self._idle()
        events = []
        canbus_look(&self.p.bus)
        while canbus_next(&self.p.bus, until_ns, &e):
            if e.frame == NULL or e.kind > 2:
                events.append((e.kind, e.node, e.time_ns, 0, 0, 0, 0, b""))
                continue
            count = 0 if e.frame.flags & ECU_CAN_REMOTE else e.frame.length
            data = PyBytes_FromStringAndSize(<const char *>e.frame.data, count)
            events.append((e.kind, e.node, e.time_ns, e.receivers, e.outcome, e.frame.id, e.frame.flags, data))
        return events

    def reset_node(self, uint32_t node):
        """Its controller was reset: queue empty, counters zero."""
        self._node(node)
        canbus_reset_node(&self.p.bus, node)

    def node_state(self, uint32_t node):
        """0 error-active, 1 error-passive, 2 bus-off."""
        return canbus_node_state(&self.p.bus, node)

    @property
    def carried(self):
        """(frames, error frames) since the bus runs in real time."""
        return self.p.carried, self.p.error_frames

    def pump(self, uintptr_t api, addresses, uint32_t period_us):
        """Run in real time until `stop`, without the GIL. addresses: node -> address of a link that was lent to us."""
        self._idle()
        self.p.api = <const link_api_t *>api
        for node in range(CANBUS_NODES):
            self.p.link[node] = <link_t *><uintptr_t>addresses.get(node, 0)
        self.p.stop = 0
        self.running = addresses
        try:
            with nogil:
                canbus_pump_run(self.p, period_us)
        finally:
            self.running = None

    def stop(self):
        """Ends `pump`, from another thread."""
        self.p.stop = 1
