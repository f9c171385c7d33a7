# distutils: sources = ext/realtime/pace.c ext/realtime/gate.c ext/realtime/iomodule.c ext/realtime/line.c ext/realtime/lines.c ext/realtime/wires.c ext/realtime/runner.c ext/realtime/emulator.c ext/realtime/host.c ext/links/serial.c ext/firmware/generated/bms_dbc.c
"""Real time: the compiled runners of `bms emulate` and `bms ecu`. See ext/realtime, and bms.realtime for how they are used.

`Emulator.run`, `Host.run` and `Lines.run` return when told to stop and hold no GIL meanwhile: give each a thread of its own.
Everything else may be called from other threads while they run. `parts` are live arrays; only what is marked SHARED in the C
headers, and what a thread of its own does not write, may be written.
"""

include "fields.pxi"

import os

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

include "realtime_c.pxi"

PTY, PORT = 1, 2
NO_DESCRIPTOR = -1
GATE_STATES = ("never armed", "armed", "expired", "stalled", "disarmed")
HOST_PHASES = ("off", "booting", "running", "refused")


def now_us():
    """CLOCK_MONOTONIC in microseconds: the clock of every runner."""
    return runner_now_us()


def bins_us():
    """Lower edges of the bins of lateness, shape (288,)."""
    return np.array([pace_bin_us(k) for k in range(PACE_BINS)], np.uint64)


def open_port(str path, uint32_t baud):
    """A descriptor of a serial port, raw, non-blocking, with marked errors; OSError if it cannot be."""
    fd = serial_open(os.fsencode(path), baud, SERIAL_MARKS | SERIAL_LOW_LATENCY | SERIAL_EXCLUSIVE)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd), path)
    return fd


def open_client(str path, uint32_t baud):
    """The same for the client's end of a pseudo-terminal, which has no errors to mark and may be opened twice."""
    fd = serial_open(os.fsencode(path), baud, 0)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd), path)
    return fd


def open_pty():
    """(descriptor of the server's side, path of the client's side) of a new raw pseudo-terminal."""
    cdef char path[128]
    fd = serial_pty(path, sizeof(path))
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    return fd, os.fsdecode(<bytes>path)


def link_pty(str device, str path):
    """A symbolic link at `path` to `device`; an older link is replaced, anything else is an OSError."""
    failed = serial_link(os.fsencode(device), os.fsencode(path))
    if failed:
        raise OSError(-failed, os.strerror(-failed), path)


def unlink_pty(str device, str path):
    """Removes the link if it is still ours."""
    serial_unlink(os.fsencode(device), os.fsencode(path))


def is_alone(int fd):
    """True while nobody holds the client's side of a pseudo-terminal."""
    return serial_is_alone(fd)


cdef class _Memory:
    """Zeroed, aligned memory that arrays can look into."""

    cdef object array
    cdef uint8_t[::1] view

    cdef void *take(self, size_t size):
        room = np.zeros(size + 64, np.uint8)
        start = -room.ctypes.data % 64
        self.array = room[start:start + size]
        self.view = self.array
        return <void *>&self.view[0]


cdef class Emulator:
    """The plant on real wires. `world` is a bms._loop.World made with `stand_in()` and this emulator's `config`."""

    cdef _Memory _memory
    cdef emulator_t *_e
    cdef object _keep
    cdef readonly dict parts

    def __init__(self):
        self._memory = _Memory()
        self._e = <emulator_t *>self._memory.take(sizeof(emulator_t))
        emulator_init(self._e)
        base = <uintptr_t>self._e
        self.parts = {
            "pace": _views(self._memory.array, <uintptr_t>&self._e.runner - base, pace_fields, pace_field_count),
            "line": _views(self._memory.array, <uintptr_t>&self._e.line - base, line_fields, line_field_count),
            "io": _views(self._memory.array, <uintptr_t>&self._e.io - base, io_fields, io_field_count),
            "emulator": _views(self._memory.array, <uintptr_t>&self._e.fields - base, emulator_fields, emulator_field_count),
        }

    @staticmethod
    def stand_in():
        """Address of the ecu_api_t that stands in the firmware's place."""
        return <uintptr_t>emulator_stand_in()

    @property
    def config(self):
        """What the stand-in is configured with."""
        cdef uintptr_t place = <uintptr_t>self._e
        return (<char *>&place)[:sizeof(place)]

    @property
    def runner_address(self):
        """For Lines."""
        return <uintptr_t>&self._e.runner

    def attach(self, world, uintptr_t link_api, list links):
        """The world, and addresses of the links of vehicle and sensor bus (the same twice when shared)."""
        place, inputs, run, world_size, inputs_size = world.handles()
        if world_size != sizeof(world_t) or inputs_size != sizeof(loop_inputs_t):
            raise ImportError("bms._loop and bms._realtime were compiled from different headers: compile both again")
        self._keep = world
        self._e.world = <world_t *><uintptr_t>place
        self._e.inputs = <loop_inputs_t *><uintptr_t>inputs
        self._e.run = <loop_run_t *><uintptr_t>run
        _wire(&self._e.wires, link_api, links)

    def run(self, uint32_t priority):
        """Until `stop`; priority 0 asks for none."""
        with nogil:
            emulator_run(self._e, priority)

    def stop(self):
        STORE32(&self._e.runner.stop, 1)

    @property
    def priority(self):
        """Real-time priority that was granted; 0 none."""
        return self._e.runner.priority

    def set_line(self, int32_t fd, uint32_t kind):
        """A descriptor for the chips' line, taken at the next step; -1 none."""
        self._e.line_next_kind = kind
        STORE_FD(&self._e.line_next_fd, fd)

    def poke(self, list changes):
        """[(offset, size, bits)] written as a whole between two steps; False when the list before has not been taken yet."""
        cdef uint32_t head = self._e.poke_head
        cdef poke_t *entry
        if head - LOAD32(&self._e.poke_tail) + len(changes) > EMULATOR_POKES:
            return False
        for offset, size, bits in changes:
            entry = &(<poke_t *>self._e.poke)[head & (EMULATOR_POKES - 1)]
            entry.offset, entry.size, entry.bits = offset, size, bits
            head += 1
        STORE32(&self._e.poke_head, head)
        return True

    @property
    def is_poked(self):
        """Whether everything given to `poke` has been applied."""
        return LOAD32(&self._e.poke_tail) == self._e.poke_head

    @staticmethod
    def profile_change(values):
        """The entry for `poke` that sets the demand: float64, shape (n,), to be kept alive by the caller."""
        return POKE_PROFILE, len(values), values.ctypes.data if len(values) else 0

    def events(self):
        """[(us, kind, code, level, index, value)] since the last call."""
        cdef uint32_t tail = self._e.event_tail, head = LOAD32(&self._e.event_head)
        cdef event_t *entry
        found = []
        while tail != head:
            entry = &(<event_t *>self._e.event)[tail & (EMULATOR_EVENTS - 1)]
            found.append((entry.us, entry.kind, entry.code, entry.level, entry.index, entry.value))
            tail += 1
        STORE32(&self._e.event_tail, tail)
        return found

    def offer_recorder(self, uintptr_t address):
        """An empty recorder_t, used from the next step on."""
        SWAP_POINTER(&self._e.recorder_next, <recorder_t *>address)

    def take_recorder(self):
        """Address of the recorder that was replaced; 0 while it is still in use."""
        return <uintptr_t>SWAP_POINTER(&self._e.recorder_done, <recorder_t *>NULL)


cdef void _wire(wires_t *wires, uintptr_t link_api, list links):
    wires.api = <const link_api_t *>link_api
    for k in range(2):
        wires.link[k] = <link_t *><uintptr_t>links[k]


cdef class Host:
    """A firmware as a process: `api` is the address of an ecu_api_t, `config` what it is configured with."""

    cdef _Memory _memory, _firmware
    cdef host_t *_h
    cdef const uint8_t[::1] _config
    cdef readonly dict parts
    cdef readonly object firmware_bytes

    def __init__(self, uintptr_t api, bytes config, bytes entropy):
        self._memory = _Memory()
        self._h = <host_t *>self._memory.take(sizeof(host_t))
        host_init(self._h)
        self._h.api = <const ecu_api_t *>api
        self._firmware = _Memory()
        self._h.firmware = <ecu_t *>self._firmware.take(self._h.api.size())
        self.firmware_bytes = self._firmware.array
        self._config = config if config else b"\0"
        self._h.config = <const void *>&self._config[0]
        self._h.config_size = len(config)
        memcpy(self._h.entropy, <const char *>entropy, min(len(entropy), 16))
        base = <uintptr_t>self._h
        self.parts = {
            "pace": _views(self._memory.array, <uintptr_t>&self._h.runner - base, pace_fields, pace_field_count),
            "line": _views(self._memory.array, <uintptr_t>&self._h.line - base, line_fields, line_field_count),
            "io": _views(self._memory.array, <uintptr_t>&self._h.io - base, io_fields, io_field_count),
            "host": _views(self._memory.array, <uintptr_t>&self._h.fields - base, host_fields, host_field_count),
        }

    @property
    def runner_address(self):
        """For Lines."""
        return <uintptr_t>&self._h.runner

    def attach(self, uintptr_t link_api, list links):
        """Addresses of the links of vehicle and sensor bus (the same twice when shared; 0 none)."""
        _wire(&self._h.wires, link_api, links)

    def set_line(self, int32_t fd, uint32_t kind):
        """A descriptor for the chips' line, taken at the next step; -1 none."""
        self._h.line_next_kind = kind
        STORE_FD(&self._h.line_next_fd, fd)

    def run(self, uint32_t priority):
        """Until `stop`; priority 0 asks for none."""
        with nogil:
            host_run(self._h, priority)

    def step(self, uint64_t wall_us):
        """One millisecond by hand, for tests."""
        with nogil:
            host_step(self._h, wall_us)

    def stop(self):
        STORE32(&self._h.runner.stop, 1)

    @property
    def priority(self):
        """Real-time priority that was granted; 0 none."""
        return self._h.runner.priority

    def set_nvm_event(self, int32_t fd):
        """An eventfd that is raised when a page is to be stored."""
        self._h.nvm_event = fd

    def page_to_store(self):
        """(number, bytes) of the page the firmware is waiting for, or None."""
        if LOAD32(&self._h.fields.nvm_state) != HOST_NVM_STORE:
            return None
        page = self._h.fields.nvm_page
        return page, self.parts["host"]["nvm"][64 * page:64 * page + 64].tobytes()

    def page_is_stored(self, bint good):
        STORE32(&self._h.fields.nvm_state, HOST_NVM_STORED if good else HOST_NVM_FAILED)


cdef class Lines:
    """Real lines beside a runner. Fill `parts["lines"]`, `open`, then `run` in a thread of its own."""

    cdef _Memory _memory
    cdef lines_t *_l
    cdef runner_t *_runner
    cdef readonly dict parts

    def __init__(self, uintptr_t runner):
        self._memory = _Memory()
        self._l = <lines_t *>self._memory.take(sizeof(lines_t))
        self._runner = <runner_t *>runner
        base = <uintptr_t>self._l
        self.parts = {
            "lines": _views(self._memory.array, <uintptr_t>&self._l.fields - base, lines_fields, lines_field_count),
            "gate": _views(self._memory.array, <uintptr_t>&self._l.gate - base, gate_fields, gate_field_count),
        }

    def open(self):
        """Requests the input lines; OSError if they are refused."""
        failed = lines_open(self._l)
        if failed < 0:
            raise OSError(-failed, os.strerror(-failed))

    def arm(self, double seconds):
        """Outputs may be driven for so long from now on; 0 ends it."""
        STORE64(&self._l.fields.arm_us, <uint64_t>(seconds * 1e6) + 1)

    def run(self, uint32_t priority):
        """Until the runner is told to stop; priority 0 asks for none."""
        with nogil:
            lines_run(self._l, self._runner, priority)

    def step(self, uint64_t now_us):
        """One look by hand, for tests."""
        lines_step(self._l, self._runner, now_us)


include "realtime_pure.pxi"
