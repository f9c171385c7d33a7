# distutils: sources = ext/links/link.c ext/links/stream.c ext/links/frame.c ext/links/inproc.c ext/links/slcan.c ext/links/slcan_client.c ext/links/slcan_server.c ext/links/socketcand.c ext/links/socketcand_client.c ext/links/socketcand_server.c ext/links/socketcan.c ext/links/datagram.c ext/links/udp.c ext/links/serial.c
# distutils: libraries = pthread
"""CAN links (ext/links/link.h) and their frames. Use bms.links, which turns a URL into a Link.

A Link may be used from several threads: all that touches it holds the GIL, and only sleeping gives it up. A thread without
the GIL (the real-time runner, a Hub) gets a link by `lend`; until `take_back` Python may only look at its state and counters.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport UINT64_MAX, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

cimport cython

import os

import numpy as np

from bms.errors import LinkError

include "fields.pxi"

cdef extern from "firmware/ecu.h":
    enum:
        ECU_CAN_EXTENDED
        ECU_CAN_REMOTE
        ECU_CAN_FD
        ECU_CAN_BRS
        ECU_CAN_ERROR

cdef extern from "links/link.h" nogil:
    ctypedef struct link_frame_t:
        uint64_t time_us
        uint32_t id
        uint8_t bus, length, flags, reserved
        uint8_t data[64]

    ctypedef struct link_config_t:
        uint32_t kind, options, bitrate, data_bitrate, baud, port, local_port, ring
        char host[108]
        char name[108]

    ctypedef struct link_counters_t:
        uint64_t rx_frames

    ctypedef struct link_wait_t:
        uint32_t ready

    ctypedef struct link_t:
        pass

    ctypedef enum link_state_t:
        LINK_WAITING
        LINK_CONNECTING
        LINK_UP
        LINK_CLOSED

    enum:
        LINK_PYTHON
        LINK_KINDS
        LINK_FD
        LINK_LISTEN_ONLY
        LINK_PATIENT

    link_t *link_open(const link_config_t *config, uint64_t now_us, char *why, size_t why_size)
    void link_close(link_t *l)
    int link_service(link_t *l, uint64_t now_us)
    uint32_t link_receive(link_t *l, link_frame_t *out, uint32_t max)
    uint32_t link_send(link_t *l, const link_frame_t *frames, uint32_t count)
    void link_wait_begin(link_wait_t *w, link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us)
    uint32_t link_wait_sleep(link_wait_t *w)
    uint32_t link_join_wait(link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us)
    uint32_t link_join(link_t *const *links, uint32_t count, uint64_t now_us)
    link_state_t link_state(const link_t *l)
    const char *link_reason(const link_t *l)
    const link_counters_t *link_counters(const link_t *l)
    const char *link_place(const link_t *l)
    uint32_t link_client_count(const link_t *l)
    uint32_t link_pending(const link_t *l)
    void link_set_state(link_t *l, link_state_t state, const char *reason)
    const char *link_kind_name(uint32_t kind)
    const char *link_state_name(link_state_t state)
    uint64_t link_now_us()
    const field_t *link_counter_fields(size_t *count)

    ctypedef struct link_api_t:
        int (*service)(link_t *l, uint64_t now_us)
        uint32_t (*receive)(link_t *l, link_frame_t *out, uint32_t max)
        uint32_t (*send)(link_t *l, const link_frame_t *frames, uint32_t count)
        link_state_t (*state)(const link_t *l)
        uint32_t (*room)(const link_t *l)
        void (*wait_begin)(link_wait_t *w, link_t *const *links, uint32_t count, int wake_fd, uint64_t timeout_us)
        uint32_t (*wait_sleep)(link_wait_t *w)

    uint32_t link_room(const link_t *l)

cdef extern from "links/internal.h" nogil:
    uint8_t fd_dlc(uint8_t length)

KINDS = tuple(link_kind_name(k).decode() for k in range(LINK_KINDS))
FD, LISTEN_ONLY, PATIENT = LINK_FD, LINK_LISTEN_ONLY, LINK_PATIENT
EXTENDED, REMOTE, CAN_FD, BRS, ERROR = ECU_CAN_EXTENDED, ECU_CAN_REMOTE, ECU_CAN_FD, ECU_CAN_BRS, ECU_CAN_ERROR

FRAME_DTYPE = np.dtype(
    [("time_us", "<u8"), ("id", "<u4"), ("bus", "u1"), ("length", "u1"), ("flags", "u1"), ("reserved", "u1"), ("data", "u1", 64)]
)
if FRAME_DTYPE.itemsize != sizeof(link_frame_t):
    raise ImportError("FRAME_DTYPE does not have the layout of link_frame_t")

cdef double SLICE_US = 200000.0  # a sleep is interrupted so often, to notice signals and a link closed by another thread


include "links_frame.pxi"


cdef link_frame_t *_frames(array, Py_buffer *view, int writable) except NULL:
    if getattr(array, "dtype", None) != FRAME_DTYPE:
        raise TypeError("expected a NumPy array of FRAME_DTYPE")
    PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    return <link_frame_t *>view.buf


cdef void _text(char *to, str value, Py_ssize_t room) except *:
    raw = value.encode()
    if len(raw) >= room:
        raise ValueError(f"longer than {room - 1} bytes: {value}")
    memcpy(to, PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))


cdef class Link:
    """An open CAN link; bms.links.open makes it. Closing it, or leaving its `with`, gives back what it holds.

    `companion` is closed with it (the thread of a python-can interface).
    """

    cdef link_t *l
    cdef link_config_t config
    cdef bint lent
    cdef uint64_t serviced_us
    cdef readonly str url
    cdef public object companion

    def __init__(self, str kind, *, str host="", str name="", uint32_t port=0, uint32_t local_port=0, uint32_t bitrate=0,
                 uint32_t data_bitrate=0, uint32_t baud=0, uint32_t options=0, uint32_t ring=0, str url=""):
        cdef char why[200]
        if self.l != NULL:
            raise LinkError("a link is opened once")
        self.config.kind = KINDS.index(kind)
        self.config.options, self.config.ring = options, ring
        self.config.bitrate, self.config.data_bitrate, self.config.baud = bitrate, data_bitrate, baud
        self.config.port, self.config.local_port = port, local_port
        _text(self.config.host, host, sizeof(self.config.host))
        _text(self.config.name, name, sizeof(self.config.name))
        self.url = url or kind
        self.l = link_open(&self.config, link_now_us(), why, sizeof(why))
        if self.l == NULL:
            raise LinkError(f"{self.url}: {why.decode(errors='replace')}")

    def __dealloc__(self):
        link_close(self.l)

    cdef int _ours(self) except -1:
        if self.l == NULL:
            raise LinkError(f"{self.url}: closed")
        if self.lent:
            raise LinkError(f"{self.url}: lent to a running loop")
        return 0

    cpdef bint send(self, Frame frame) except? 0:
        """Queue one frame; False if it was dropped (and counted): no room, not up, or not possible here."""
        if self.l == NULL or self.lent:
            self._ours()
        if frame is None:
            raise TypeError("expected a Frame")
        self._keep_alive()
        return link_send(self.l, &frame.f, 1) == 1

    cdef void _keep_alive(self):
        """Who only sends must hear answers and hang-ups too, now and then."""
        if self.config.kind > LINK_PYTHON:
            now_us = link_now_us()
            if now_us - self.serviced_us > 1000:
                self.serviced_us = now_us
                link_service(self.l, now_us)

    def send_batch(self, array):
        """Queue the frames of an array of FRAME_DTYPE, shape (n,); returns how many were accepted."""
        cdef Py_buffer view
        self._ours()
        cdef link_frame_t *frames = _frames(array, &view, False)
        self._keep_alive()
        cdef uint32_t n = link_send(self.l, frames, <uint32_t>(view.len // sizeof(link_frame_t)))
        PyBuffer_Release(&view)
        return n

    cdef bint _await(self, double timeout_s) except? 0:
        """True once there is a frame; False after timeout_s (negative: never) without one."""
        cdef link_wait_t w
        cdef uint64_t now_us, until_us
        self._ours()
        now_us = link_now_us()
        if link_service(self.l, now_us):
            return True
        if timeout_s == 0.0:
            return False
        until_us = UINT64_MAX if timeout_s < 0.0 else now_us + <uint64_t>(timeout_s * 1e6)
        while now_us < until_us:
            link_wait_begin(&w, &self.l, 1, -1, min(until_us - now_us, <uint64_t>SLICE_US))
            with nogil:
                link_wait_sleep(&w)
            PyErr_CheckSignals()
            self._ours()
            now_us = link_now_us()
            if link_service(self.l, now_us):
                return True
        return False

    cpdef Frame receive(self, timeout_s=0.0):
        """The oldest frame; waits up to timeout_s seconds for one (None: for ever), then None."""
        cdef Frame frame
        if self.l == NULL or self.lent:
            self._ours()
        if link_pending(self.l) == 0 and not self._await(-1.0 if timeout_s is None else timeout_s):
            return None
        frame = Frame.__new__(Frame)
        link_receive(self.l, &frame.f, 1)
        return frame

    def receive_batch(self, array, timeout_s=0.0):
        """Fill the beginning of an array of FRAME_DTYPE; returns how many frames. Waits like receive for the first."""
        cdef Py_buffer view
        cdef uint32_t n = 0, room
        self._ours()
        cdef link_frame_t *frames = _frames(array, &view, True)
        try:
            room = <uint32_t>(view.len // sizeof(link_frame_t))
            n = link_receive(self.l, frames, room)
            if n < room and self._await(0.0 if n else (-1.0 if timeout_s is None else timeout_s)):
                n += link_receive(self.l, frames + n, room - n)
        finally:
            PyBuffer_Release(&view)
        return n

    def __iter__(self):
        return self

    def __next__(self):
        """Frames as they come; ends when the link is closed."""
        if self.l == NULL:
            raise StopIteration
        try:
            return self.receive(None)
        except LinkError:
            if self.l == NULL:
                raise StopIteration from None
            raise

    def service(self):
        """Read, decode, write, reconnect: done by receive and send as well. True if there are frames."""
        self._ours()
        return link_service(self.l, link_now_us()) != 0

    def wait_up(self, double timeout_s):
        """True once the link is up; False after timeout_s seconds, or at once if it is not by then."""
        cdef link_wait_t w
        cdef uint64_t now_us = link_now_us()
        cdef uint64_t until_us = now_us + <uint64_t>(timeout_s * 1e6)
        while True:
            self._ours()
            link_service(self.l, now_us)
            if link_state(self.l) == LINK_UP:
                return True
            if now_us >= until_us:
                return False
            link_wait_begin(&w, &self.l, 1, -1, min(until_us - now_us, <uint64_t>10000))
            with nogil:
                link_wait_sleep(&w)
            PyErr_CheckSignals()
            now_us = link_now_us()

    @property
    def kind(self):
        return KINDS[self.config.kind]

    @property
    def fd(self):
        """Whether it was opened for CAN FD."""
        return self.config.options & LINK_FD != 0

    @property
    def state(self):
        """"waiting" (will be tried again), "connecting", "up" or "closed"."""
        return "closed" if self.l == NULL else link_state_name(link_state(self.l)).decode()

    @property
    def reason(self):
        """Why it is not up; empty if it is."""
        return "" if self.l == NULL else link_reason(self.l).decode(errors="replace")

    @property
    def place(self):
        """Where others find it: the device of a pseudo-terminal, address and port of a server; empty if there is none."""
        return "" if self.l == NULL else link_place(self.l).decode(errors="replace")

    @property
    def client_count(self):
        """Clients of a server at this moment."""
        return 0 if self.l == NULL else link_client_count(self.l)

    @property
    def pending(self):
        """Frames received and not taken yet."""
        return 0 if self.l == NULL else link_pending(self.l)

    @property
    def counters(self):
        """Everything counted, name to number; the meanings are in bms.links.COUNTERS."""
        cdef size_t count
        cdef const field_t *table = link_counter_fields(&count)
        cdef const link_counters_t *c
        if self.l == NULL:
            raise LinkError(f"{self.url}: closed")
        c = link_counters(self.l)
        return {table[k].name.decode(): (<const uint64_t *>(<const char *>c + table[k].offset))[0] for k in range(count)}

    def set_state(self, str state, str reason=""):
        """For the thread behind a python-can interface: "waiting" or "up", and why."""
        if self.l != NULL:
            link_set_state(self.l, LINK_UP if state == "up" else LINK_WAITING, reason.encode())

    @property
    def address(self):
        """Where the link_t is, for a compiled loop (with `api_address`); while that runs, nobody else may use the link."""
        self._ours()
        return <uintptr_t>self.l

    def lend(self):
        """The same, and until `take_back` using the link from Python raises LinkError."""
        address = self.address
        self.lent = True
        return address

    def take_back(self):
        """The other thread has ended."""
        self.lent = False

    def close(self):
        """Ends the link; frames not yet received are lost. May be called twice."""
        cdef link_t *l = self.l
        if self.lent:
            raise LinkError(f"{self.url}: lent to a running loop")
        self.l = NULL
        if self.companion is not None:
            self.companion.close()
        link_close(l)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<Link {self.url} {self.state}{' (' + self.reason + ')' if self.reason else ''}>"


cdef class Joint:
    """Links that are one bus: a frame that arrives on one leaves on all others. `run` blocks, without the GIL, until `stop`."""

    cdef link_t **links
    cdef uint32_t count
    cdef int wake_fd
    cdef bint running
    cdef volatile int stopping
    cdef list owners

    def __init__(self, list links):
        self.owners = links
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.links = <link_t **>calloc(max(1, len(links)), sizeof(link_t *))
        if self.links == NULL:
            raise MemoryError
        for link in links:
            link.address  # raises for one that is closed or lent, before any is taken
        for link in links:
            self.links[self.count] = <link_t *><uintptr_t>link.lend()
            self.count += 1

    def __dealloc__(self):
        free(self.links)
        if self.wake_fd > 0:
            os.close(self.wake_fd)

    def run(self):
        with nogil:
            while not self.stopping:
                link_join(self.links, self.count, link_now_us())
                link_join_wait(self.links, self.count, self.wake_fd, 1000000)
        for link in self.owners:
            link.take_back()

    def stop(self):
        self.stopping = 1
        os.eventfd_write(self.wake_fd, 1)


include "links_wire.pxi"


def counter_fields():
    """(name, unit, meaning) of every counter."""
    cdef size_t count
    cdef const field_t *table = link_counter_fields(&count)
    return [(table[k].name.decode(), table[k].unit.decode(), table[k].text.decode()) for k in range(count)]


cdef link_api_t _api
_api.service, _api.receive, _api.send, _api.state = link_service, link_receive, link_send, link_state
_api.room, _api.wait_begin, _api.wait_sleep = link_room, link_wait_begin, link_wait_sleep


def api_address():
    """Where the link_api_t is: the functions with which another compiled module drives a link."""
    return <uintptr_t>&_api


def now_us():
    """CLOCK_MONOTONIC in microseconds: the clock of all times here."""
    return link_now_us()
