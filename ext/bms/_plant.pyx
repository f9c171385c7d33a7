# distutils: sources = ext/plant/plant.c ext/plant/electric.c ext/plant/slow.c ext/plant/path.c ext/plant/heat.c ext/plant/events.c
"""The plant by itself, one object: for tests, inspection and experiments without firmware. See ext/plant/plant.h."""

include "fields.pxi"

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

cdef extern from "time.h" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec *)
    int CLOCK_MONOTONIC

cdef extern from "plant/plant.h" nogil:
    ctypedef struct plant_t:
        pass
    const field_t plant_fields[]
    const size_t plant_field_count
    void plant_init(plant_t *)
    void plant_step_ms(plant_t *)
    void plant_energy(plant_t *)
    uint32_t plant_best_isa()


def best_isa():
    """1 where the AVX2 kernels may be used, else 0; the results are the same."""
    return plant_best_isa()


def describe():
    """[(name, unit, text, offset, count, dtype)] of every field."""
    return _describe(plant_fields, plant_field_count)


cdef class Plant:
    """A plant in one flat block of memory, aligned to 64 bytes.

    `fields[name]` is a writable array over it, shape (count of the field,); `info[name]` is (unit, text). Fill the fields
    (bms.plant.build.fill), call `init()`, write the inputs, `step(n)`, read the state.
    """

    cdef object _memory
    cdef uint8_t[::1] _bytes
    cdef plant_t *_plant
    cdef readonly dict fields
    cdef readonly dict info

    def __init__(self):
        room = np.zeros(sizeof(plant_t) + 64, np.uint8)
        start = -room.ctypes.data % 64
        self._memory = room[start:start + sizeof(plant_t)]
        self._bytes = self._memory
        self._plant = <plant_t *>&self._bytes[0]
        self.fields = _views(self._memory, 0, plant_fields, plant_field_count)
        self.info = {name: (unit, text) for name, unit, text, *_ in describe()}

    def init(self):
        """Derive everything else from parameters and initial state; at rest, contactors open."""
        plant_init(self._plant)

    def step(self, uint32_t n=1):
        """n steps of `step_us`, 1 ms each unless a test changed it."""
        cdef uint32_t k
        with nogil:
            for k in range(n):
                plant_step_ms(self._plant)

    def time_ns(self, uint32_t ticks):
        """Run `ticks` ticks of ten steps; wall time of one in nanoseconds, the mean."""
        cdef timespec a, b
        cdef uint32_t k
        with nogil:
            clock_gettime(CLOCK_MONOTONIC, &a)
            for k in range(10 * ticks):
                plant_step_ms(self._plant)
            clock_gettime(CLOCK_MONOTONIC, &b)
        return ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / max(1, ticks)

    def energy(self):
        """Energies in joule brought up to date, {term without energy_ and _j: value}."""
        plant_energy(self._plant)
        return {
            name[len("energy_"):-len("_j")]: float(values[0])
            for name, values in self.fields.items() if name.startswith("energy_")
        }

    def snapshot(self):
        """All of it, as bytes."""
        return bytes(self._memory)

    def restore(self, bytes snapshot):
        """Put a snapshot of the same build back. Raises ValueError for another size."""
        if len(snapshot) != len(self._memory):
            raise ValueError(f"a snapshot of {len(self._memory)} bytes is needed, got {len(snapshot)}")
        cdef const uint8_t[::1] view = snapshot
        memcpy(&self._bytes[0], &view[0], len(snapshot))
