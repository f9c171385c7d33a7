# distutils: sources = ext/firmware/observer.c
"""The thermal observer of the firmware (ext/firmware/observer.h), for tests and offline use."""

include "fields.pxi"

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

cdef extern from "observer.h":
    enum:
        EST_BLOCKS_MAX, OBS_MODULES_MAX, OBS_CHANNELS_MAX, OBS_SENSORS_MAX
    ctypedef struct obs_params_t:
        float core_j_per_k, surface_j_per_k, core_surface_w_per_k, neighbour_w_per_k, cooling_w_per_k, cooling_sigma_frac
        float heat_core_frac, heat_sigma_frac, sensor_sigma_k, spread_sigma_k, start_sigma_k
        uint32_t sensors
        uint32_t sensor_channel[6]
    ctypedef struct obs_bank_t:
        uint32_t count, per_module, suspects
        float cooling_w_per_k[32]
        float cooling_var[32]
        float sink_degc[32]
        float local_k[192]
        float core_degc[400]
        float surface_degc[400]
        float sigma_k[400]
    ctypedef struct obs_hottest_t:
        float core_degc, sigma_k, bound_degc
        uint32_t block, known
    void obs_init(obs_bank_t *, const obs_params_t *, uint32_t, uint32_t) nogil
    void obs_step(obs_bank_t *, const obs_params_t *, uint32_t, float, const float *, const float *, const uint8_t *, float) nogil
    obs_hottest_t obs_hottest(const obs_bank_t *) nogil

_NAMES = (
    "core_j_per_k", "surface_j_per_k", "core_surface_w_per_k", "neighbour_w_per_k", "cooling_w_per_k", "cooling_sigma_frac",
    "heat_core_frac", "heat_sigma_frac", "sensor_sigma_k", "spread_sigma_k", "start_sigma_k",
)  # fmt: skip


cdef class Observer:
    """Core temperatures of `blocks` blocks, `per_module` in a module.

    params: the float fields of obs_params_t by name; channels: block within its module that carries each thermistor, rising.
    """

    cdef obs_params_t _params
    cdef obs_bank_t _bank

    def __init__(self, params, channels, int blocks=1, int per_module=1):
        if not 1 <= blocks <= EST_BLOCKS_MAX or not 1 <= per_module <= OBS_CHANNELS_MAX or blocks > per_module * OBS_MODULES_MAX:
            raise ValueError("1 to 400 blocks, 1 to 16 in a module, at most 32 modules")
        if not 1 <= len(channels) <= OBS_SENSORS_MAX or list(channels) != sorted(set(channels)):
            raise ValueError("1 to 6 thermistors, on different blocks, rising")
        unknown = set(params) ^ set(_NAMES)
        if unknown:
            raise ValueError(f"parameters missing or unknown: {sorted(unknown)}")
        memset(&self._params, 0, sizeof(self._params))
        self._params.core_j_per_k, self._params.surface_j_per_k = params["core_j_per_k"], params["surface_j_per_k"]
        self._params.core_surface_w_per_k = params["core_surface_w_per_k"]
        self._params.neighbour_w_per_k = params["neighbour_w_per_k"]
        self._params.cooling_w_per_k, self._params.cooling_sigma_frac = params["cooling_w_per_k"], params["cooling_sigma_frac"]
        self._params.heat_core_frac, self._params.heat_sigma_frac = params["heat_core_frac"], params["heat_sigma_frac"]
        self._params.sensor_sigma_k, self._params.spread_sigma_k = params["sensor_sigma_k"], params["spread_sigma_k"]
        self._params.start_sigma_k = params["start_sigma_k"]
        self._params.sensors = <uint32_t>len(channels)
        for k, channel in enumerate(channels):
            self._params.sensor_channel[k] = channel
        obs_init(&self._bank, &self._params, blocks, per_module)

    def step(self, int module, float dt_s, const float[::1] heat_w, const float[::1] reading_degc, const uint8_t[::1] valid,
             float sink_degc=float("nan")):
        """One module, dt_s later: heat of its blocks (per_module), its thermistors and whether each is good, and what cools it."""
        if heat_w.shape[0] < <Py_ssize_t>self._bank.per_module or reading_degc.shape[0] < <Py_ssize_t>self._params.sensors \
                or valid.shape[0] < <Py_ssize_t>self._params.sensors:
            raise ValueError("heat_w for each block of the module, reading_degc and valid for each thermistor")
        obs_step(&self._bank, &self._params, module, dt_s, &heat_w[0], &reading_degc[0], &valid[0], sink_degc)

    def run(self, const float[::1] time_s, const float[::1] heat_w, const float[::1] surface_degc, const float[::1] sink_degc,
            float[::1] core_degc, float[::1] cooling_w_per_k):
        """One cell with one thermistor over a record; core_degc and cooling_w_per_k are written. All of one length."""
        cdef Py_ssize_t k, n = time_s.shape[0]
        cdef float dt
        cdef uint8_t good
        if not (heat_w.shape[0] == surface_degc.shape[0] == sink_degc.shape[0] == core_degc.shape[0] == cooling_w_per_k.shape[0] == n):
            raise ValueError("arrays of one length")
        for k in range(n):
            dt = time_s[k] - time_s[k - 1] if k else 1.0
            good = surface_degc[k] == surface_degc[k]
            obs_step(&self._bank, &self._params, 0, dt, &heat_w[k], &surface_degc[k], &good, sink_degc[k])
            core_degc[k] = self._bank.core_degc[0]
            cooling_w_per_k[k] = self._bank.cooling_w_per_k[0]

    def _array(self, which):
        cdef float[::1] view
        if which == "core":
            view = <float[:EST_BLOCKS_MAX]>self._bank.core_degc
        elif which == "surface":
            view = <float[:EST_BLOCKS_MAX]>self._bank.surface_degc
        else:
            view = <float[:EST_BLOCKS_MAX]>self._bank.sigma_k
        return np.array(view[: self._bank.count])

    @property
    def core_degc(self):
        """Core of each block, shape (blocks,)."""
        return self._array("core")

    @property
    def surface_degc(self):
        """Surface of each block, shape (blocks,)."""
        return self._array("surface")

    @property
    def sigma_k(self):
        """Standard deviation of core_degc, shape (blocks,)."""
        return self._array("sigma")

    @property
    def residual_k(self):
        """What each thermistor says beyond the others of its module, shape (modules, 6)."""
        cdef float[::1] view = <float[: OBS_MODULES_MAX * OBS_SENSORS_MAX]>self._bank.local_k
        modules = -(-self._bank.count // self._bank.per_module)
        return np.array(view).reshape(OBS_MODULES_MAX, OBS_SENSORS_MAX)[:modules]

    @property
    def suspects(self):
        """Thermistors that have stayed far from the others."""
        return self._bank.suspects

    @property
    def cooling_w_per_k(self):
        """Surface to sink of the first module, as learnt, and its standard deviation."""
        return self._bank.cooling_w_per_k[0], self._bank.cooling_var[0] ** 0.5

    @property
    def sink_degc(self):
        """What cools the first module."""
        return self._bank.sink_degc[0]

    @property
    def hottest(self):
        """(core_degc, sigma_k, bound_degc, block) of the hottest, or None before the first reading."""
        hot = obs_hottest(&self._bank)
        return (hot.core_degc, hot.sigma_k, hot.bound_degc, hot.block) if hot.known else None
