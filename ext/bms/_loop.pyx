# distutils: sources = ext/loop/loop.c ext/loop/buses.c ext/canbus/canbus.c ext/canbus/length.c ext/canbus/confine.c ext/canbus/trouble.c ext/loop/nvm.c ext/loop/inject.c ext/loop/seam.c ext/loop/vehicle.c ext/firmware/aes.c ext/firmware/cmac.c ext/plant/plant.c ext/plant/electric.c ext/plant/slow.c ext/plant/path.c ext/plant/heat.c ext/plant/events.c ext/chips/chips.c ext/chips/line.c ext/chips/frame.c ext/chips/registers.c ext/chips/adc.c ext/chips/balance.c ext/chips/faults.c ext/chips/ivt.c ext/chips/imd.c ext/recorder/record.c ext/recorder/steps.c ext/firmware/generated/bms_dbc.c
"""The closed loop as one block of memory: see ext/loop/loop.h, and sim.py for how it is filled."""

include "fields.pxi"

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from "ecu_api.h":
    ctypedef struct ecu_api_t:
        pass

cdef extern from "recorder/record.h":
    ctypedef struct recorder_t:
        pass

cdef extern from "loop/loop.h" nogil:
    ctypedef struct plant_t:
        pass
    ctypedef struct world_t:
        plant_t plant
    void plant_energy(plant_t *)
    ctypedef struct ecu_in_t:
        pass
    ctypedef struct ecu_out_t:
        pass
    ctypedef struct ecu_can_frame_t:
        uint8_t bus
    ctypedef struct bus_frame_t:
        ecu_can_frame_t frame
    ctypedef struct bus_tap_t:
        uint64_t head, tail, lost
        uint32_t capacity
        bus_frame_t *frames
    uint32_t buses_put_foreign(world_t *, uint32_t, const bus_frame_t *, uint32_t)
    ctypedef struct loop_inputs_t:
        const ecu_api_t *firmware
        const void *config
        size_t config_size
        recorder_t *recorder
        bus_tap_t *tap[2]
        const double *profile
        uint32_t profile_count
        void *watch
        void *watch_state
    size_t loop_arena_size(const ecu_api_t *)
    int loop_start(world_t *, const loop_inputs_t *)
    uint32_t loop_run(world_t *, const loop_inputs_t *, uint32_t, uint32_t *)
    uint64_t loop_truth_hash(const world_t *, uint64_t)
    bint loop_write_register(world_t *, uint32_t, uint32_t, uint8_t)

cdef extern from *:
    """
    #include "loop/loop.h"
    typedef struct { const char *name; size_t place; const field_t *table; const size_t *count; } world_part_t;
    #define WORLD_PART(part) {#part, offsetof(world_t, part), part##_fields, &part##_field_count}
    #define WORLD_BUS(part, number) {#part, offsetof(world_t, bus[number]), canbus_fields, &canbus_field_count}
    static const world_part_t world_parts[] = {WORLD_PART(loop), WORLD_PART(plant), WORLD_PART(chips), WORLD_PART(ivt),
                                               WORLD_PART(imd), WORLD_PART(vehicle),
                                               WORLD_BUS(vehicle_bus, ECU_BUS_VEHICLE), WORLD_BUS(sensor_bus, ECU_BUS_SENSOR),
                                               WORLD_PART(inject), WORLD_PART(seam)};
    #define WORLD_PART_COUNT (sizeof world_parts / sizeof world_parts[0])
    """
    ctypedef struct world_part_t:
        const char *name
        size_t place
        const field_t *table
        const size_t *count
    const world_part_t world_parts[]
    const int WORLD_PART_COUNT

FRAME_DTYPE = np.dtype(
    [("time_us", "<u8"), ("id", "<u4"), ("bus", "u1"), ("length", "u1"), ("flags", "u1"), ("reserved", "u1"), ("data", "u1", 64)]
)
if FRAME_DTYPE.itemsize != sizeof(bus_frame_t):
    raise ImportError("FRAME_DTYPE does not have the layout of bus_frame_t")
IN_BYTES, OUT_BYTES = sizeof(ecu_in_t), sizeof(ecu_out_t)
DONE, RECORDER_FULL, EVENTS_FULL, CONDITION = 0, 1, 2, 3
EVENT_STATE, EVENT_DIAGNOSIS, EVENT_CONTACTOR, EVENT_FUSE, EVENT_RESET, EVENT_FAULT = 1, 2, 3, 4, 5, 6
UNTIL_SOC_ABOVE, UNTIL_SOC_BELOW, UNTIL_CURRENT_BELOW, UNTIL_STATE, UNTIL_TEMPERATURE_ABOVE = 1, 2, 4, 8, 16


def describe():
    """{part: [(name, unit, text, offset, count, dtype)]} of every field of the world."""
    return {
        world_parts[k].name.decode(): _describe(world_parts[k].table, world_parts[k].count[0])
        for k in range(WORLD_PART_COUNT)
    }


_places = {}


def places():
    """{(part, field): (offset from the start of the arena, count, dtype)} of every field of the world."""
    if not _places:
        _places.update({
            (world_parts[k].name.decode(), name): (world_parts[k].place + offset, count, dtype)
            for k in range(WORLD_PART_COUNT)
            for name, _unit, _text, offset, count, dtype in _describe(world_parts[k].table, world_parts[k].count[0])
        })
    return _places


def firmware_offset():
    """Where the firmware's state begins in the arena."""
    return (sizeof(world_t) + 63) // 64 * 64


cdef class World:
    """The arena: plant, chips, sensors, vehicle, queues, and behind them the firmware's state.

    `parts["plant"]["cell_soc_frac"]` is a writable array over the arena, shape (count of the field,). `firmware_bytes` is the
    firmware's state. `recorder` and `profile` may be set before `run`.
    """

    cdef object _memory
    cdef uint8_t[::1] _bytes
    cdef world_t *_world
    cdef loop_inputs_t _inputs
    cdef object _keep
    cdef const uint8_t[::1] _config
    cdef double[::1] _profile
    cdef bus_tap_t _tap[2]
    cdef object _tapped
    cdef public dict parts
    cdef public object firmware_bytes

    def __init__(self, uintptr_t firmware_api, bytes config):
        self._inputs.firmware = <const ecu_api_t *>firmware_api
        size = loop_arena_size(self._inputs.firmware)
        room = np.zeros(size + 64, np.uint8)
        start = -room.ctypes.data % 64
        self._keep = room
        self._memory = room[start:start + size]
        self._bytes = self._memory
        self._world = <world_t *>&self._bytes[0]
        self._config = config if config else b"\0"
        self._inputs.config = <const void *>&self._config[0]
        self._inputs.config_size = len(config)
        self.parts = {
            world_parts[k].name.decode():
                _views(self._memory, world_parts[k].place, world_parts[k].table, world_parts[k].count[0])
            for k in range(WORLD_PART_COUNT)
        }

    def start(self):
        """Derive and reset everything after the fields were filled; returns the code of the firmware's ecu_init (0: accepted)."""
        code = loop_start(self._world, &self._inputs)
        size = int(self.parts["loop"]["firmware_size"][0])
        self.firmware_bytes = self._memory[len(self._memory) - (size + 63) // 64 * 64:][:size]
        return code

    def set_recorder(self, uintptr_t address):
        """Address of a recorder_t, or 0 for none."""
        self._inputs.recorder = <recorder_t *>address

    def set_watch(self, uintptr_t function, uintptr_t state):
        """Address of a loop_watch_t and of its state, which the caller keeps alive; 0 for none."""
        self._inputs.watch = <void *>function
        self._inputs.watch_state = <void *>state

    def set_profile(self, values):
        """Demand of the phase, float64 of shape (n,); kept by reference. None for no demand."""
        if values is None or len(values) == 0:
            self._inputs.profile = NULL
            self._inputs.profile_count = 0
            return
        self._profile = np.ascontiguousarray(values, np.float64)
        self._inputs.profile = &self._profile[0]
        self._inputs.profile_count = len(self._profile)

    def put_frames(self, uint32_t bus, frames):
        """Frames of a foreign node of a bus (0 vehicle, 1 sensor), which wait there for their turn like everybody's.

        frames: array of FRAME_DTYPE; its times and buses are ignored. Returns how many were accepted: the queue has bounds. The
        node joins the bus with its first frame, and from then on acknowledges what the others send.
        """
        if bus > 1:
            raise ValueError(f"bus {bus}: 0 (vehicle) or 1 (sensor)")
        array = np.ascontiguousarray(frames, FRAME_DTYPE)
        if not len(array):
            return 0
        return buses_put_foreign(self._world, bus, <const bus_frame_t *><uintptr_t>array.ctypes.data, len(array))

    def tap_frames(self, uint32_t bus, uint32_t capacity=4096):
        """Keep what a bus carries for take_frames, at most `capacity` frames (a power of two); 0 keeps none. Changes no bit."""
        if bus > 1 or capacity & (capacity - 1):
            raise ValueError(f"bus {bus}, capacity {capacity}: 0 or 1, and a power of two")
        self._tapped = self._tapped or {}
        self._tapped[bus] = np.zeros(capacity, FRAME_DTYPE)
        self._tap[bus].head = self._tap[bus].tail = self._tap[bus].lost = 0
        self._tap[bus].capacity = capacity
        self._tap[bus].frames = <bus_frame_t *><uintptr_t>self._tapped[bus].ctypes.data
        self._inputs.tap[bus] = &self._tap[bus] if capacity else NULL

    def take_frames(self, uint32_t bus):
        """What the bus carried since the last call, oldest first: an array of FRAME_DTYPE, and how many found no room in the ring.

        time_us is the simulated time of the last bit; `reserved` the node that sent: 0 the ECU, 1 the vehicle or the current
        sensor, 2 the insulation monitor, 7 a foreign one. Error frames have the flag of 16.
        """
        if bus > 1 or self._inputs.tap[bus] == NULL:
            raise ValueError(f"bus {bus}: say tap_frames first")
        cdef bus_tap_t *tap = &self._tap[bus]
        places = np.arange(tap.tail, tap.head, dtype=np.uint64) & np.uint64(tap.capacity - 1)
        lost = tap.lost
        tap.tail, tap.lost = tap.head, 0
        return self._tapped[bus][places], int(lost)

    def run(self, uint32_t milliseconds):
        """Step; returns (milliseconds done, reason)."""
        cdef uint32_t why = 0, done
        with nogil:
            done = loop_run(self._world, &self._inputs, milliseconds, &why)
        return done, why

    def time_ticks(self, int ticks):
        """Run `ticks` control periods of 10 ms and return the wall time of each in microseconds, shape (ticks,)."""
        cdef double[::1] out = np.zeros(ticks)
        cdef timespec a, b
        cdef uint32_t why = 0
        cdef int k
        with nogil:
            for k in range(ticks):
                clock_gettime(CLOCK_MONOTONIC, &a)
                loop_run(self._world, &self._inputs, 10, &why)
                clock_gettime(CLOCK_MONOTONIC, &b)
                out[k] = (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) * 1e-3
        return np.asarray(out)

    @property
    def memory(self):
        """The whole arena as live bytes, shape (size,)."""
        return self._memory

    def handles(self):
        """(address of the world_t, of its loop_inputs_t, of loop_run, sizes of both structs): for a runner in another module.

        They live as long as this does.
        """
        return (
            <uintptr_t>self._world, <uintptr_t>&self._inputs, <uintptr_t>&loop_run, sizeof(world_t), sizeof(loop_inputs_t)
        )

    def energy(self):
        """Bring the plant's energy fields and their residual up to date."""
        plant_energy(&self._world.plant)

    def truth_hash_now(self):
        """The truth hash including the plant's present state."""
        return loop_truth_hash(self._world, int(self.parts["loop"]["truth_hash"][0]))

    def write_register(self, uint32_t chip, uint32_t address, uint8_t value):
        """Write a register of a monitor chip past its line, as a debug probe on the board would, with all that sets off.

        False when there is no such chip, or nothing that can be written at this address.
        """
        return bool(loop_write_register(self._world, chip, address, value))

    def snapshot(self):
        """Everything that changes, as bytes."""
        return bytes(self._memory)

    def restore(self, bytes snapshot):
        """Put a snapshot of the same build and configuration back."""
        if len(snapshot) != len(self._memory):
            raise ValueError(f"snapshot has {len(snapshot)} bytes, this world has {len(self._memory)}")
        cdef const uint8_t[::1] view = snapshot
        memcpy(&self._bytes[0], &view[0], len(snapshot))
