# distutils: sources = ext/batch/string.c ext/batch/single.c
"""The firmware's estimator over arrays (ext/batch/batch.h). Python's face of it is bms.estimator.

`Strings` holds the state of many cells in tiles; a call works on a range of tiles without the GIL, so threads can share them out.
"""

include "fields.pxi"

cdef extern from "batch/batch.h":
    ctypedef struct batch_params_t:
        float capacity_ah
    enum:
        BATCH_RESULTS
    ctypedef struct batch_io_t:
        double dt_s, current_a, pressure_kpa, sink_degc
        const double *voltage_v
        const double *temperature_degc
        const double *soc0_frac
        size_t temperature_stride
        bint into_same
        float *result[8]
    ctypedef struct batch_set_t:
        const void *est
        const void *obs
        const batch_params_t *own
    ctypedef struct batch_kind_t:
        size_t size
        uint32_t cells_max
        void (*init)(void *, const batch_set_t *, uint32_t) noexcept nogil
        void (*step)(void *, const batch_set_t *, const batch_io_t *) noexcept nogil
        void (*covariance)(const void *, uint32_t, float *) noexcept nogil
    const batch_kind_t batch_string, batch_single
    const field_t batch_params_fields[]
    const field_t batch_est_fields[]
    const field_t batch_obs_fields[]
    const size_t batch_params_field_count, batch_est_field_count, batch_est_size, batch_obs_field_count, batch_obs_size

TILE = batch_string.cells_max
RESULTS = BATCH_RESULTS


cdef class Strings:
    """State of n_cells cells: tiles of at most TILE cells that share the current, or (`own`) each cell alone.

    `est`, `obs` and `params` map parameter names to arrays, to be filled before `reset`, which comes before the first step.
    """

    cdef object _memory, _est_memory, _obs_memory, _params_memory
    cdef const batch_kind_t *_kind
    cdef char *_state
    cdef batch_set_t _set
    cdef size_t _stride
    cdef const double[::1] _dt_s, _pressure_kpa, _sink_degc, _soc0_frac
    cdef const double[:, :] _current_a
    cdef const double[:, ::1] _voltage_v, _temperature_degc
    cdef float[:, :, ::1] _results
    cdef char[::1] _fresh  # tiles whose results were bound since their last step
    cdef readonly Py_ssize_t cells, tile, tiles, steps
    cdef readonly bint own
    cdef readonly dict est, obs, params

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
        self._obs_memory = np.zeros(batch_obs_size, dtype=np.uint8)
        self._params_memory = np.zeros(sizeof(batch_params_t), dtype=np.uint8)
        self._set.est = <const void *><uintptr_t>self._est_memory.ctypes.data
        self._set.obs = <const void *><uintptr_t>self._obs_memory.ctypes.data
        self._set.own = <const batch_params_t *><uintptr_t>self._params_memory.ctypes.data
        self.est = _views(self._est_memory, 0, batch_est_fields, batch_est_field_count)
        self.obs = _views(self._obs_memory, 0, batch_obs_fields, batch_obs_field_count)
        self.params = _views(self._params_memory, 0, batch_params_fields, batch_params_field_count)

    def reset(self):
        """Forget everything but the parameters."""
        cdef Py_ssize_t k
        for k in range(self.tiles):
            self._kind.init(self._state + k * self._stride, &self._set, <uint32_t>min(self.tile, self.cells - k * self.tile))

    def covariance(self):
        """p11, p12, p13, p22, p23, p33 of charge, diffusion voltage and resistance, shape (cells, 6)."""
        out = np.zeros((self.cells, 6), dtype=np.float32)
        cdef float[:, ::1] view = out
        cdef Py_ssize_t k
        for k in range(self.cells):
            self._kind.covariance(self._state + k // self.tile * self._stride, <uint32_t>(k % self.tile), &view[k, 0])
        return out

    def bind(self, const double[::1] dt_s, const double[:, :] current_a, const double[:, ::1] voltage_v,
             const double[:, ::1] temperature_degc, const double[::1] pressure_kpa, const double[::1] sink_degc,
             const double[::1] soc0_frac, float[:, :, ::1] results):
        """Readings and results of the calls of `go` that follow, checked once and kept alive.

        Arrays are (steps, cells); current is (steps, 1) when shared; temperature may be (steps, 1). results: (RESULTS, steps, cells) in
        the order of batch.h.
        """
        cdef Py_ssize_t n = dt_s.shape[0]
        self._fits("current_a", current_a.shape, (n, self.cells if self.own else 1))
        self._fits("voltage_v", voltage_v.shape, (n, self.cells))
        self._fits("temperature_degc", temperature_degc.shape, (n, self.cells if temperature_degc.shape[1] != 1 else 1))
        self._fits("pressure_kpa", pressure_kpa.shape, (n,))
        self._fits("soc0_frac", soc0_frac.shape, (self.cells,))
        self._fits("sink_degc", sink_degc.shape, (n,))
        self._fits("results", results.shape, (RESULTS, n, self.cells))
        self._dt_s, self._current_a, self._voltage_v, self._temperature_degc = dt_s, current_a, voltage_v, temperature_degc
        self._pressure_kpa, self._sink_degc, self._soc0_frac, self._results = pressure_kpa, sink_degc, soc0_frac, results
        self.steps, self._fresh = n, np.ones(self.tiles, dtype=np.int8)

    def go(self, Py_ssize_t first, Py_ssize_t last):
        """All steps of the bound readings for tiles first .. last - 1, without the GIL."""
        cdef Py_ssize_t t, i, c, at, warm, k
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
                io.into_same = self.steps == 1 and self._fresh[t] == 0
                self._fresh[t] = 0
                for i in range(self.steps):
                    io.dt_s = self._dt_s[i]
                    io.current_a = self._current_a[i, at]
                    io.pressure_kpa = self._pressure_kpa[i]
                    io.voltage_v = &self._voltage_v[i, c]
                    io.temperature_degc = &self._temperature_degc[i, c * warm]
                    io.sink_degc = self._sink_degc[i]
                    for k in range(BATCH_RESULTS):
                        io.result[k] = &self._results[k, i, c]
                    self._kind.step(self._state + t * self._stride, &self._set, &io)

    def _fits(self, name, shape, expected):
        found = tuple(shape[k] for k in range(len(expected)))
        if found != expected:
            raise ValueError(f"{name}: expected shape {expected}, got {found}")
