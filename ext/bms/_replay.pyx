# distutils: sources = ext/replay/replay.c ext/recorder/steps.c ext/loop/vehicle.c ext/firmware/aes.c ext/firmware/cmac.c ext/firmware/generated/bms_dbc.c
"""Recorded steps of a firmware fed to one again: ext/replay/replay.h. Use bms.replay."""

include "fields.pxi"

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef extern from "ecu_api.h":
    ctypedef struct ecu_t:
        pass
    ctypedef struct ecu_can_frame_t:
        uint32_t id
        uint8_t bus, length, flags
        uint8_t data[64]
    ctypedef struct ecu_pins_out_t:
        uint32_t digital
        uint16_t heater_pptt, pump_pptt
    ctypedef struct ecu_nvm_t:
        uint8_t op
        uint16_t page
        uint8_t data[64]
    ctypedef struct ecu_uart_out_t:
        uint32_t baud, low_us
        uint16_t count
        uint8_t bytes[64]
    ctypedef struct ecu_in_t:
        uint64_t now_us
    ctypedef struct ecu_out_t:
        ecu_pins_out_t pins
        bint watchdog_kick, reset_wanted
        uint16_t can_count
        uint32_t sleep_ms
        ecu_uart_out_t uart[2]
        ecu_can_frame_t can[24]
        ecu_nvm_t nvm_want
    ctypedef struct ecu_api_t:
        size_t (*size)() noexcept nogil

cdef extern from "replay/replay.h" nogil:
    ctypedef struct vehicle_event_t:
        uint32_t diagnosis, tier, raised
        int32_t index
        float value
    ctypedef struct replay_event_t:
        uint64_t now_us
        vehicle_event_t event
    ctypedef struct vehicle_t:
        pass
    ctypedef struct replay_t:
        const ecu_api_t *api
        ecu_t *firmware
        const void *config
        size_t config_size
        uint64_t number, steps, boots, differences, gaps, first_us, first_difference_us
        uint32_t stops_at_differences, refused, is_started
        ecu_in_t in_ "in"
        ecu_out_t expected, out
        vehicle_t vehicle[2]
        uint32_t event_count[2]
        replay_event_t event[2][64]
    void replay_start(replay_t *r, uint64_t sample_us)
    uint32_t replay_feed(replay_t *r, const uint8_t *bytes, size_t size, size_t *used)
    const field_t vehicle_fields[]
    const size_t vehicle_field_count

DONE, DIFFERS, SAMPLE, GAP, MALFORMED, REFUSED = 0, 1, 2, 3, 4, 5


cdef dict _output(const ecu_out_t *out):
    """An ecu_out_t in words, what happened only."""
    found = {
        "pins.digital": out.pins.digital, "pins.heater_pptt": out.pins.heater_pptt, "pins.pump_pptt": out.pins.pump_pptt,
        "watchdog_kick": bool(out.watchdog_kick), "reset_wanted": bool(out.reset_wanted), "sleep_ms": out.sleep_ms,
        "can_count": out.can_count, "nvm_want.op": out.nvm_want.op,
    }
    for k in range(2):
        line = f"uart[{k}]"
        found[line + ".count"] = out.uart[k].count
        if out.uart[k].count or out.uart[k].low_us:
            found[line + ".baud"], found[line + ".low_us"] = out.uart[k].baud, out.uart[k].low_us
            found[line + ".bytes"] = (<bytes>(<const char *>out.uart[k].bytes)[:out.uart[k].count]).hex(" ")
    for k in range(out.can_count):
        frame = f"can[{k}]"
        found[frame + ".id"], found[frame + ".bus"], found[frame + ".flags"] = out.can[k].id, out.can[k].bus, out.can[k].flags
        found[frame + ".data"] = (<bytes>(<const char *>out.can[k].data)[:out.can[k].length]).hex(" ")
    if out.nvm_want.op:
        found["nvm_want.page"] = out.nvm_want.page
        found["nvm_want.data"] = (<bytes>(<const char *>out.nvm_want.data)[:64]).hex(" ")
    return found


cdef class Replayer:
    """One firmware, fed with recorded steps.

    api: address of its ecu_api_t. config: bytes given to it at each start. state: its memory to go on from, None to begin with
    zeros. sample_us: how often `feed` comes back with SAMPLE; 0: never, and no vehicle listens.
    """

    cdef replay_t *_r
    cdef object _config, _state, _memory
    cdef public list vehicles
    cdef public object keep  # what must live as long as this: the firmware

    def __cinit__(self, uintptr_t api, bytes config, *, bytes state=None, uint64_t sample_us=0, bint stop=False):
        cdef const uint8_t[::1] config_view = config if config else b"\0"
        self._r = <replay_t *>calloc(1, sizeof(replay_t))
        if self._r == NULL:
            raise MemoryError
        self._config = config_view
        self._r.api = <const ecu_api_t *>api
        self._r.config = &config_view[0]
        self._r.config_size = len(config)
        self._r.stops_at_differences = stop
        size = self._r.api.size()
        room = np.zeros(size + 64, np.uint8)
        start = -room.ctypes.data % 64
        self._state, self._memory = room, room[start:start + size]
        self._r.firmware = <ecu_t *><uintptr_t>self._memory.ctypes.data
        if state is not None:
            if len(state) != size:
                raise ValueError(f"a state of {len(state)} bytes for a firmware of {size}")
            self._memory[:] = np.frombuffer(state, np.uint8)
        replay_start(self._r, sample_us)
        self.vehicles = [self._view(k) for k in range(2)]

    def __dealloc__(self):
        free(self._r)

    def _view(self, int k):
        """Fields of what a vehicle hears: 0 of the recorded outputs, 1 of the new ones."""
        cdef uint8_t[::1] raw = <uint8_t[:sizeof(vehicle_t)]><uint8_t *>&self._r.vehicle[k]
        return _views(raw, 0, vehicle_fields, vehicle_field_count)

    def feed(self, const uint8_t[::1] data, size_t start=0):
        """(place behind the last step taken, reason)."""
        cdef size_t used = 0
        cdef uint32_t why = 0
        if start < <size_t>data.shape[0]:
            with nogil:
                why = replay_feed(self._r, &data[start], <size_t>data.shape[0] - start, &used)
        return start + used, why

    def outputs(self):
        """(recorded, new) output of the last step, field -> value."""
        return _output(&self._r.expected), _output(&self._r.out)

    def take_events(self, int side):
        """[(us, diagnosis, tier, raised, index, value)] heard since the last call."""
        found = [
            (self._r.event[side][k].now_us, self._r.event[side][k].event.diagnosis, self._r.event[side][k].event.tier,
             self._r.event[side][k].event.raised, self._r.event[side][k].event.index, self._r.event[side][k].event.value)
            for k in range(self._r.event_count[side])
        ]
        self._r.event_count[side] = 0
        return found

    @property
    def now_us(self):
        return self._r.in_.now_us

    @property
    def counts(self):
        """Numbers of the replay: steps, boots, differences, gaps, first_us, first_difference_us, number, refused."""
        return {
            "steps": self._r.steps, "boots": self._r.boots, "differences": self._r.differences, "gaps": self._r.gaps,
            "first_us": self._r.first_us, "first_difference_us": self._r.first_difference_us, "number": self._r.number,
            "refused": self._r.refused,
        }
