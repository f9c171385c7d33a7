# distutils: sources = ext/chips/chips.c ext/chips/line.c ext/chips/frame.c ext/chips/registers.c ext/chips/adc.c ext/chips/balance.c ext/chips/faults.c ext/chips/ivt.c ext/chips/imd.c
"""The monitor chips, the current sensor and the insulation monitor, one object each: for tests, emulation and inspection.

Every object owns one flat block of memory; `fields` are NumPy arrays over it by name, `describe()` says what each means, and
`state()`/`restore()` copy it. The closed loop uses the same C without these classes.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

include "fields.pxi"

cdef extern from "ecu.h":
    enum:
        ECU_UART_IN_MAX
        ECU_UART_OUT_MAX
    ctypedef struct ecu_uart_out_t:
        uint32_t baud
        uint32_t low_us
        uint16_t count
        uint8_t bytes[64]
    ctypedef struct ecu_can_frame_t:
        uint32_t id
        uint8_t bus
        uint8_t length
        uint8_t flags
        uint8_t data[64]

cdef extern from "chips/chips.h":
    ctypedef struct chips_t:
        pass
    ctypedef struct chips_view_t:
        const double *block_voltage_v
        const double *cell_surface_degc
        const double *module_pressure_kpa
        double ambient_degc
    const field_t chips_fields[]
    const size_t chips_field_count
    void chips_init(chips_t *) nogil
    void chips_exchange(chips_t *, uint64_t, const chips_view_t *, const ecu_uart_out_t *, uint8_t *, uint16_t *) nogil

cdef extern from "chips/ivt.h":
    ctypedef struct ivt_t:
        pass
    const field_t ivt_fields[]
    const size_t ivt_field_count
    void ivt_init(ivt_t *) nogil
    void ivt_step(ivt_t *, uint64_t, double, double, double, const ecu_can_frame_t *, uint16_t, ecu_can_frame_t *, uint16_t *,
                  uint16_t) nogil

cdef extern from "chips/imd.h":
    ctypedef struct imd_t:
        pass
    const field_t imd_fields[]
    const size_t imd_field_count
    void imd_init(imd_t *) nogil
    void imd_step(imd_t *, uint64_t, double, double, ecu_can_frame_t *, uint16_t *, uint16_t) nogil

cdef enum:
    FRAMES = 32


cdef class _Device:
    """A block of zeroed memory, aligned to 64 bytes, seen through its field table."""

    cdef object _memory
    cdef size_t _start, _size
    cdef readonly dict fields

    cdef void *_allocate(self, size_t size, const field_t *table, size_t count):
        self._memory = np.zeros(size + 64, dtype=np.uint8)
        cdef uintptr_t address = <uintptr_t>self._memory.ctypes.data
        self._start = (64 - address % 64) % 64
        self._size = size
        self.fields = _views(self._memory, self._start, table, count)
        return <void *>(address + self._start)

    def state(self):
        """All of it, as bytes."""
        return self._memory[self._start : self._start + self._size].tobytes()

    def restore(self, data):
        """Puts back what `state()` gave. Raises ValueError for another size."""
        if <size_t>len(data) != self._size:
            raise ValueError(f"a state of {self._size} bytes is needed, got {len(data)}")
        self._memory[self._start : self._start + self._size] = np.frombuffer(data, dtype=np.uint8)


cdef list _frames_out(const ecu_can_frame_t *frames, uint16_t count):
    return [(frames[k].id, bytes(frames[k].data[: frames[k].length])) for k in range(count)]


cdef class Chips(_Device):
    """A stack of BQ79616 chips. Fill `fields` (bms.plant.chips.fill), call `init()`, then `exchange` once a millisecond."""

    cdef chips_t *_c

    def __cinit__(self):
        self._c = <chips_t *>self._allocate(sizeof(chips_t), chips_fields, chips_field_count)

    @staticmethod
    def describe():
        """[(name, unit, text, offset, count, dtype)] of every field."""
        return _describe(chips_fields, chips_field_count)

    def init(self):
        """Every chip in shutdown; parameters kept."""
        chips_init(self._c)

    def exchange(self, uint64_t now_us, double[::1] block_voltage_v, double[::1] cell_surface_degc,
                 double[::1] module_pressure_kpa, double ambient_degc=25.0, bytes data=b"", uint32_t low_us=0,
                 uint32_t baud=1000000):
        """One millisecond: the host's low pulse and bytes in, the bytes that reach the host out.

        block_voltage_v has at least block_count values, cell_surface_degc at least one per block, module_pressure_kpa one per
        chip. Raises ValueError for shorter arrays or more bytes than a millisecond of an ECU can send.
        """
        cdef chips_view_t view
        cdef ecu_uart_out_t host
        cdef uint8_t out[ECU_UART_IN_MAX]
        cdef uint16_t count = 0
        cdef Py_ssize_t blocks = self.fields["block_count"][0], chips = self.fields["chip_count"][0]
        if block_voltage_v.shape[0] < blocks or cell_surface_degc.shape[0] < blocks or module_pressure_kpa.shape[0] < chips:
            raise ValueError(f"the view must hold {blocks} blocks and {chips} modules")
        if len(data) > ECU_UART_OUT_MAX:
            raise ValueError(f"at most {ECU_UART_OUT_MAX} bytes fit, got {len(data)}")
        view.block_voltage_v = &block_voltage_v[0]
        view.cell_surface_degc = &cell_surface_degc[0]
        view.module_pressure_kpa = &module_pressure_kpa[0]
        view.ambient_degc = ambient_degc
        memset(&host, 0, sizeof(host))
        host.baud, host.low_us, host.count = baud, low_us, <uint16_t>len(data)
        memcpy(host.bytes, <const char *>data, len(data))
        chips_exchange(self._c, now_us, &view, &host, out, &count)
        return bytes(out[:count])

    def many(self, uint64_t now_us, double[::1] block_voltage_v, double[::1] cell_surface_degc, double[::1] module_pressure_kpa,
             uint32_t steps, uint32_t every, bytes data):
        """`steps` milliseconds with `data` sent in every `every`-th (0: never), answers thrown away: for measuring cost."""
        cdef chips_view_t view
        cdef ecu_uart_out_t host, idle
        cdef uint8_t out[ECU_UART_IN_MAX]
        cdef uint16_t count = 0
        cdef uint64_t delivered = 0
        cdef uint32_t k
        view.block_voltage_v = &block_voltage_v[0]
        view.cell_surface_degc = &cell_surface_degc[0]
        view.module_pressure_kpa = &module_pressure_kpa[0]
        view.ambient_degc = 25.0
        memset(&host, 0, sizeof(host))
        memset(&idle, 0, sizeof(idle))
        host.baud = idle.baud = 1000000
        host.count = <uint16_t>min(len(data), ECU_UART_OUT_MAX)
        memcpy(host.bytes, <const char *>data, host.count)
        with nogil:
            for k in range(steps):
                chips_exchange(self._c, now_us + <uint64_t>k * 1000, &view, &host if every and k % every == 0 else &idle, out, &count)
                delivered += count
        return delivered


cdef class Ivt(_Device):
    """An IVT-S style current sensor."""

    cdef ivt_t *_s

    def __cinit__(self):
        self._s = <ivt_t *>self._allocate(sizeof(ivt_t), ivt_fields, ivt_field_count)

    @staticmethod
    def describe():
        """[(name, unit, text, offset, count, dtype)] of every field."""
        return _describe(ivt_fields, ivt_field_count)

    def init(self):
        """Factory configuration, running; parameters kept."""
        ivt_init(self._s)

    def step(self, uint64_t now_us, double current_a, double pack_v, double link_v, frames=(), uint16_t out_max=FRAMES):
        """One millisecond: [(id, data)] in, [(id, data)] out. Raises ValueError for more than 32 frames or 8 bytes."""
        cdef ecu_can_frame_t given[FRAMES]
        cdef ecu_can_frame_t out[FRAMES]
        cdef uint16_t count = 0, k
        if len(frames) > FRAMES or out_max > FRAMES:
            raise ValueError(f"at most {FRAMES} frames fit")
        memset(given, 0, sizeof(given))
        for k in range(len(frames)):
            identifier, data = frames[k]
            if len(data) > 8:
                raise ValueError("a frame has at most 8 bytes")
            given[k].id, given[k].bus, given[k].length = identifier, 1, <uint8_t>len(data)
            for n in range(len(data)):
                given[k].data[n] = data[n]
        ivt_step(self._s, now_us, current_a, pack_v, link_v, given, <uint16_t>len(frames), out, &count, out_max)
        return _frames_out(out, count)


cdef class Imd(_Device):
    """An insulation monitor."""

    cdef imd_t *_m

    def __cinit__(self):
        self._m = <imd_t *>self._allocate(sizeof(imd_t), imd_fields, imd_field_count)

    @staticmethod
    def describe():
        """[(name, unit, text, offset, count, dtype)] of every field."""
        return _describe(imd_fields, imd_field_count)

    def init(self):
        """Switched off; the first step is power-on. Parameters kept."""
        imd_init(self._m)

    def step(self, uint64_t now_us, double insulation_kohm, double pack_v, uint16_t out_max=FRAMES):
        """One millisecond: [(id, data)] out."""
        cdef ecu_can_frame_t out[FRAMES]
        cdef uint16_t count = 0
        if out_max > FRAMES:
            raise ValueError(f"at most {FRAMES} frames fit")
        imd_step(self._m, now_us, insulation_kohm, pack_v, out, &count, out_max)
        return _frames_out(out, count)
