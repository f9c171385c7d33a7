# distutils: sources = ext/batch/string.c ext/batch/single.c
"""The firmware's estimator over arrays (ext/batch/batch.h). Python's face of it is bms.estimator.

`Strings` holds the state of many cells in tiles; a call works on a range of tiles without the GIL, so threads can share them out.
"""

include "fields.pxi"

cdef extern from "batch/batch.h":
    ctypedef struct batch_params_t:
        float capacity_ah
    ctypedef struct batch_io_t:
        double dt_s, current_a, pressure_kpa
        const double *voltage_v
        const double *temperature_degc
        const double *soc0_frac
        size_t temperature_stride
        float *soc_frac
        float *soc_std_frac
        float *core_degc
        float *r0_ohm
    ctypedef struct batch_kind_t:
        size_t size
        uint32_t cells_max
        void (*init)(void *, uint32_t) noexcept nogil
        void (*step)(void *, const void *, const batch_params_t *, const batch_io_t *) noexcept nogil
        void (*covariance)(const void *, uint32_t, float *) noexcept nogil
    const batch_kind_t batch_string, batch_single
    const field_t batch_params_fields[]
    const field_t batch_est_fields[]
    const size_t batch_params_field_count, batch_est_field_count, batch_est_size

TILE = batch_string.cells_max


cdef class Strings:
    """State of n_cells cells: tiles of at most TILE cells that share the current, or (`own`) each cell alone.

    `est` and `params` map parameter names to arrays to be filled before the first step.
    """

    cdef object _memory, _est_memory, _params_memory
    cdef const batch_kind_t *_kind
    cdef char *_state
    cdef char *_est
    cdef batch_params_t *_params
    cdef size_t _stride
    cdef const double[::1] _dt_s, _pressure_kpa, _soc0_frac
    cdef const double[:, :] _current_a
    cdef const double[:, ::1] _voltage_v, _temperature_degc
    cdef float[:, ::1] _soc_frac, _soc_std_frac, _core_degc, _r0_ohm
    cdef readonly Py_ssize_t cells, tile, tiles, steps
    cdef readonly bint own
    cdef readonly dict est, params

    def __init__(self, Py_ssize_t n_cells, bint own):
        if n_cells < 1:
            raise ValueError("at least one cell")
        self._kind = &batch_single if own else &batch_string
        self.cells, self.own = n_cells, own
        self.tile = 1 if own else ((n_cells - 1) // ((n_cells - 1) // <Py_ssize_t>TILE + 1) // 8 + 1) * 8  # whole vectors
        self.tiles = (n_cells - 1) // self.tile + 1
        self._stride = (self._kind.size + 63) // 64 * 64
        self._memory = np.zeros(self.tiles * self._stride + 64, dtype=np.uint8)
        self._state = <char *><uintptr_t>((<uintptr_t>self._memory.ctypes.data + 63) // 64 * 64)
        self._est_memory = np.zeros(batch_est_size, dtype=np.uint8)
        self._est = <char *><uintptr_t>self._est_memory.ctypes.data
        self._params_memory = np.zeros(sizeof(batch_params_t), dtype=np.uint8)
        self._params = <batch_params_t *><uintptr_t>self._params_memory.ctypes.data
        self.est = _views(self._est_memory, 0, batch_est_fields, batch_est_field_count)
        self.params = _views(self._params_memory, 0, batch_params_fields, batch_params_field_count)
        self.reset()

    def reset(self):
        """Forget everything but the parameters."""
        cdef Py_ssize_t k
        for k in range(self.tiles):
            self._kind.init(self._state + k * self._stride, <uint32_t>min(self.tile, self.cells - k * self.tile))

    def covariance(self):
        """p11, p12, p22 of charge and diffusion voltage, shape (cells, 3)."""
        out = np.zeros((self.cells, 3), dtype=np.float32)
        cdef float[:, ::1] view = out
        cdef Py_ssize_t k
        for k in range(self.cells):
            self._kind.covariance(self._state + k // self.tile * self._stride, <uint32_t>(k % self.tile), &view[k, 0])
        return out

    def bind(self, const double[::1] dt_s, const double[:, :] current_a, const double[:, ::1] voltage_v,
             const double[:, ::1] temperature_degc, const double[::1] pressure_kpa, const double[::1] soc0_frac,
             tuple outputs):
        """Readings and results of the calls of `go` that follow, checked once and kept alive.

        Arrays are (steps, cells); current is (steps, 1) when shared; temperature may be (steps, 1). outputs: soc_frac, soc_std_frac,
        core_degc, r0_ohm, float32.
        """
        cdef Py_ssize_t n = dt_s.shape[0]
        self._fits("current_a", current_a.shape, (n, self.cells if self.own else 1))
        self._fits("voltage_v", voltage_v.shape, (n, self.cells))
        self._fits("temperature_degc", temperature_degc.shape, (n, self.cells if temperature_degc.shape[1] != 1 else 1))
        self._fits("pressure_kpa", pressure_kpa.shape, (n,))
        self._fits("soc0_frac", soc0_frac.shape, (self.cells,))
        for out in outputs:
            self._fits("outputs", out.shape, (n, self.cells))
        self._dt_s, self._current_a, self._voltage_v, self._temperature_degc = dt_s, current_a, voltage_v, temperature_degc
        self._pressure_kpa, self._soc0_frac = pressure_kpa, soc0_frac
        self._soc_frac, self._soc_std_frac, self._core_degc, self._r0_ohm = outputs
        self.steps = n

    def go(self, Py_ssize_t first, Py_ssize_t last):
        """All steps of the bound readings for tiles first .. last - 1, without the GIL."""
        cdef Py_ssize_t t, i, c, at, warm
        cdef batch_io_t io
        if not 0 <= first <= last <= self.tiles:
            raise ValueError(f"tiles {first} to {last} of {self.tiles}")
        if self.steps == 0:
            return
        with nogil:
            warm = 1 if self._temperature_degc.shape[1] == self.cells else 0
            for t in range(first, last):
                c = t * self.tile
                at = c if self.own else 0
                io.soc0_frac = &self._soc0_frac[c]
                io.temperature_stride = warm
                for i in range(self.steps):
                    io.dt_s = self._dt_s[i]
                    io.current_a = self._current_a[i, at]
                    io.pressure_kpa = self._pressure_kpa[i]
                    io.voltage_v = &self._voltage_v[i, c]
                    io.temperature_degc = &self._temperature_degc[i, c * warm]
                    io.soc_frac = &self._soc_frac[i, c]
                    io.soc_std_frac = &self._soc_std_frac[i, c]
                    io.core_degc = &self._core_degc[i, c]
                    io.r0_ohm = &self._r0_ohm[i, c]
                    self._kind.step(self._state + t * self._stride, self._est, self._params, &io)

    def _fits(self, name, shape, expected):
        found = tuple(shape[k] for k in range(len(expected)))
        if found != expected:
            raise ValueError(f"{name}: expected shape {expected}, got {found}")
