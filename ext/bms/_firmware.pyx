# distutils: sources = ext/firmware/bms.c ext/firmware/afe.c ext/firmware/sensor.c ext/firmware/measure.c ext/firmware/charge.c ext/firmware/estimator.c ext/firmware/diag.c ext/firmware/protect.c ext/firmware/plausible.c ext/firmware/selfcheck.c ext/firmware/limits.c ext/firmware/contactor.c ext/firmware/fuse.c ext/firmware/thermal.c ext/firmware/balance.c ext/firmware/leak.c ext/firmware/watch.c ext/firmware/observer.c ext/firmware/health.c ext/firmware/power.c ext/firmware/witness.c ext/firmware/canin.c ext/firmware/request.c ext/firmware/sleep.c ext/firmware/canout.c ext/firmware/crc.c ext/firmware/aes.c ext/firmware/cmac.c ext/firmware/journal.c ext/firmware/store.c ext/firmware/config_check.c ext/firmware/isotp.c ext/firmware/uds.c ext/firmware/uds_data.c ext/firmware/chain.c ext/firmware/config_fields.c ext/firmware/generated/bms_dbc.c
"""The battery management firmware as a Python object, and its table of functions for the compiled loop.

`api_address()` is the address of an `ecu_api_t` (ext/common/ecu_api.h). `config_fields()` describes `bms_config_t` and
`config_constants()` the numbers that `bms.firmware.config` needs. `Firmware` steps one instance, for tests and tools: Python is
entered every millisecond, so it is slow.
"""

include "fields.pxi"

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "ecu_api.h":
    ctypedef struct ecu_can_frame_t:
        uint32_t id
        uint8_t bus, length, flags, reserved
        uint8_t data[64]
    ctypedef struct ecu_pins_in_t:
        uint32_t supply_mv, digital
    ctypedef struct ecu_pins_out_t:
        uint32_t digital
        uint16_t heater_pptt, pump_pptt
    ctypedef struct ecu_nvm_t:
        uint8_t op, status
        uint16_t page
    ctypedef struct ecu_uart_out_t:
        uint32_t baud, low_us
        uint16_t count
        uint8_t bytes[64]
    ctypedef struct ecu_in_t:
        uint64_t now_us
        ecu_pins_in_t pins
        uint16_t uart_count[2]
        uint16_t uart_errors[2]
        uint8_t can_state[2]
        uint16_t can_count
        uint8_t uart_bytes[2][128]
        ecu_can_frame_t can[24]
        ecu_nvm_t nvm_done
    ctypedef struct ecu_out_t:
        ecu_pins_out_t pins
        bint watchdog_kick, reset_wanted
        uint16_t can_count
        uint32_t sleep_ms
        ecu_uart_out_t uart[2]
        ecu_can_frame_t can[24]
        ecu_nvm_t nvm_want
    ctypedef struct ecu_boot_t:
        uint64_t now_us
        uint8_t reset_cause
        uint8_t entropy[16]
        const void *config
        size_t config_size
    ctypedef struct ecu_t:
        pass
    ctypedef struct ecu_probe_t:
        const char *name
        const char *unit
        uint32_t offset, count
        uint8_t type
    ctypedef struct ecu_api_t:
        uint32_t (*abi)() noexcept nogil
        const char *(*version)() noexcept nogil
        size_t (*size)() noexcept nogil
        int (*init)(ecu_t *, const ecu_boot_t *) noexcept nogil
        void (*step)(ecu_t *, const ecu_in_t *, ecu_out_t *) noexcept nogil
        const ecu_probe_t *(*probes)(size_t *) noexcept nogil

cdef extern from "loop/flash.h":
    enum:
        FLASH_BYTES
    uint32_t flash_ms(const ecu_nvm_t *) nogil
    void flash_operate(uint8_t *, ecu_nvm_t *) nogil

cdef extern from "ecu.h":
    uint32_t ecu_abi() noexcept nogil
    const char *ecu_version() noexcept nogil
    size_t ecu_size() noexcept nogil
    int ecu_init(ecu_t *, const ecu_boot_t *) noexcept nogil
    void ecu_step(ecu_t *, const ecu_in_t *, ecu_out_t *) noexcept nogil
    const ecu_probe_t *ecu_probes(size_t *) noexcept nogil

cdef extern from "bms.h":
    ctypedef struct bms_config_t:
        uint32_t crc32
    enum:
        STATE_COUNT
    const uint16_t contactor_next[]
    enum:
        BMS_CONFIG_MAGIC, BMS_CONFIG_VERSION, BMS_CELLS_MAX, BMS_MODULES_MAX, BMS_CHANNELS_MAX, BMS_THERMISTORS_MAX, BMS_NTC_STEPS
        EST_SOC_STEPS, EST_TEMPERATURE_STEPS, EST_TEMPERATURE_MIN_CDEGC, EST_TEMPERATURE_STEP_CDEGC, EST_PRESSURE_STEPS
    const size_t config_est_offset, config_obs_offset, config_crc_offset, config_size
    const field_t config_set_fields[]
    const size_t config_set_field_count
    const field_t config_est_fields[]
    const size_t config_est_field_count
    const field_t config_obs_fields[]
    const size_t config_obs_field_count

cdef extern from *:
    """
    /* 1: followed, 0: not, 2: an assertion failed */
    static int try_to_enter(ecu_t *self, unsigned from, unsigned to)
    {
        self->contactor.state = (uint8_t)from;
        self->contactor.state_not = (uint8_t)~from;
        self->contactor.moved = 0u;
        const bool done = contactor_enter(self, (uint8_t)to);
        return self->assert_place != 0u ? 2 : done;
    }
    static bool begin_test(ecu_t *self) { return contactor_begin_test(self); }
    """
    int try_to_enter(ecu_t *, unsigned int, unsigned int) nogil
    bint begin_test(ecu_t *) nogil

cdef extern from "estimator.h":
    ctypedef struct est_params_t:
        float per_uc
    ctypedef struct est_bank_t:
        uint32_t count
        float base[400]
        float delta[400]
        float v2_v[400]
        float p11[400]
        float p12[400]
        float p22[400]
        float r0_ohm[400]
        float soc_frac[400]
        float sigma_frac[400]
    ctypedef struct est_pack_t:
        float soc_frac, low_frac, high_frac
    void est_init(est_bank_t *, uint32_t) nogil
    void est_conditions(est_bank_t *, const est_params_t *, uint32_t, uint32_t, const int32_t *, float) nogil
    void est_start(est_bank_t *, const est_params_t *, uint32_t, int32_t) nogil
    void est_step(est_bank_t *, const est_params_t *, float, float, int64_t, const int32_t *, const uint32_t *) nogil
    void est_results(est_bank_t *, const est_params_t *, uint32_t, uint32_t, float, int64_t) nogil
    float est_take_growth(est_bank_t *) nogil
    est_pack_t est_pack(const est_bank_t *) nogil

cdef extern from "util.h":
    int32_t to_i32(float x, int32_t low, int32_t high, int32_t unknown) nogil
    float clamp_f32(float x, float low, float high) nogil
    float sqrt_f32(float x) nogil

cdef extern from "crc.h":
    uint16_t crc16_modbus(const uint8_t *, size_t) nogil
    uint32_t crc32_ieee(const uint8_t *, size_t) nogil

cdef extern from "cmac.h":
    void cmac_aes128(const uint8_t *, const uint8_t *, uint32_t, uint8_t *) nogil

cdef extern from "e2e.h":
    uint8_t e2e_p01_crc(uint16_t, const uint8_t *, uint32_t) nogil

cdef ecu_api_t _api
_api.abi = ecu_abi
_api.version = ecu_version
_api.size = ecu_size
_api.init = ecu_init
_api.step = ecu_step
_api.probes = ecu_probes


def api_address():
    """Address of the ecu_api_t of our firmware; valid as long as this module is loaded."""
    return <uintptr_t>&_api


def version():
    """What ecu_version() says."""
    return ecu_version().decode()


def probes():
    """[bms.firmware.library.Probe] of what ecu_probes() opens."""
    from bms.firmware.library import Probe

    cdef size_t count = 0
    cdef const ecu_probe_t *table = ecu_probes(&count)
    return [
        Probe(table[k].name.decode(), table[k].unit.decode(), table[k].offset, table[k].count, _FIELD_DTYPES[table[k].type])
        for k in range(count)
    ]


def config_fields():
    """[(name, unit, text, offset, count, dtype)] of bms_config_t: settings and, with the prefix `est.`, estimator parameters, with `obs.`, those of the
    thermal observer."""
    settings = _describe(config_set_fields, config_set_field_count)
    params = [
        ("est." + name, unit, text, config_est_offset + offset, count, dtype)
        for name, unit, text, offset, count, dtype in _describe(config_est_fields, config_est_field_count)
    ]
    watched = [
        ("obs." + name, unit, text, config_obs_offset + offset, count, dtype)
        for name, unit, text, offset, count, dtype in _describe(config_obs_fields, config_obs_field_count)
    ]
    return settings + params + watched


def config_constants():
    """Sizes and identities of bms_config_t by name."""
    return {
        "magic": BMS_CONFIG_MAGIC, "version": BMS_CONFIG_VERSION, "size": config_size, "crc_offset": config_crc_offset,
        "blocks_max": BMS_CELLS_MAX, "modules_max": BMS_MODULES_MAX, "channels_max": BMS_CHANNELS_MAX,
        "thermistors_max": BMS_THERMISTORS_MAX, "ntc_steps": BMS_NTC_STEPS, "soc_steps": EST_SOC_STEPS,
        "temperature_steps": EST_TEMPERATURE_STEPS, "temperature_min_cdegc": EST_TEMPERATURE_MIN_CDEGC,
        "temperature_step_cdegc": EST_TEMPERATURE_STEP_CDEGC, "pressure_steps": EST_PRESSURE_STEPS,
    }  # fmt: skip


def transitions():
    """[set of states that may follow] by state: the table of contactor.c."""
    return [{to for to in range(STATE_COUNT) if contactor_next[k] >> to & 1} for k in range(STATE_COUNT)]


def crc16(const uint8_t[::1] data):
    """CRC-16/MODBUS."""
    return crc16_modbus(&data[0] if data.shape[0] else NULL, data.shape[0])


def crc32(const uint8_t[::1] data):
    """CRC-32 of IEEE 802.3."""
    return crc32_ieee(&data[0] if data.shape[0] else NULL, data.shape[0])


def cmac(const uint8_t[::1] key, const uint8_t[::1] data):
    """AES-CMAC (RFC 4493) of `data`, 16 bytes; ValueError unless the key has 16 bytes."""
    cdef uint8_t mac[16]
    if key.shape[0] != 16:
        raise ValueError("the key of AES-128 has 16 bytes")
    cmac_aes128(&key[0], &data[0] if data.shape[0] else NULL, <uint32_t>data.shape[0], mac)
    return PyBytes_FromStringAndSize(<char *>mac, 16)


def e2e(uint32_t data_id, const uint8_t[::1] data):
    """Check code of an E2E profile 1 frame of eight bytes."""
    if data.shape[0] != 8:
        raise ValueError("an E2E frame has eight bytes")
    return e2e_p01_crc(<uint16_t>data_id, &data[0], 8)


def float_to_int(float x, int32_t low, int32_t high, int32_t unknown):
    """The firmware's one conversion from float to integer."""
    return to_i32(x, low, high, unknown)


def float_clamp(float x, float low, float high):
    """The firmware's clamp: NaN becomes low."""
    return clamp_f32(x, low, high)


def float_sqrt(float x):
    """The firmware's square root."""
    return sqrt_f32(x)


cdef class Firmware:
    """One instance of the firmware.

    `code` is what ecu_init returned: 0, or why the configuration was refused. `step` feeds one millisecond and returns what came
    out; the same attributes stay readable until the next step: `pins`, `heater_pptt`, `pump_pptt`, `uart` (bytes), `low_us`,
    `baud`, `frames` (list of (bus, id, data)), `sleep_ms`.

    `nvm` is its memory (a bytearray of 16 KiB, erased bytes FF), served as in the loop; hand it to the next instance for a reset.
    """

    cdef object _memory
    cdef ecu_t *_self
    cdef ecu_in_t _in
    cdef ecu_out_t _out
    cdef readonly int code
    cdef readonly uint64_t now_us
    cdef readonly dict probes
    cdef readonly bytearray nvm
    cdef ecu_nvm_t _pending
    cdef uint32_t _nvm_left_ms

    def __init__(self, bytes config, uint64_t now_us=0, int reset_cause=0, bytearray nvm=None, bytes entropy=bytes(16)):
        cdef ecu_boot_t boot
        memset(&boot, 0, sizeof(boot))
        self._memory = np.zeros(ecu_size() + 16, dtype=np.uint8)
        cdef uintptr_t address = self._memory.ctypes.data
        cdef uintptr_t aligned = (address + 15) // 16 * 16
        self._self = <ecu_t *>aligned
        memset(&self._in, 0, sizeof(self._in))
        memset(&self._out, 0, sizeof(self._out))
        boot.now_us = now_us
        boot.reset_cause = reset_cause
        memcpy(boot.entropy, <const char *>entropy, min(len(entropy), 16))
        self.nvm = bytearray(b"\xff" * FLASH_BYTES) if nvm is None else nvm
        if len(self.nvm) != FLASH_BYTES:
            raise ValueError(f"a memory has {FLASH_BYTES} bytes")
        boot.config = <const char *>config
        boot.config_size = len(config)
        self.now_us = now_us
        self.code = ecu_init(self._self, &boot)
        self.probes = self._find_probes(aligned - address)

    cdef dict _find_probes(self, size_t start):
        cdef size_t count = 0
        cdef const ecu_probe_t *table = ecu_probes(&count)
        found = {}
        for k in range(count):
            array = np.frombuffer(
                self._memory, dtype=_FIELD_DTYPES[table[k].type], count=table[k].count, offset=start + table[k].offset
            )
            array.flags.writeable = False
            found[table[k].name.decode()] = array
        return found

    def step(self, uint64_t now_us, uint32_t pins=0, uint32_t supply_mv=12000, const uint8_t[::1] uart=b"", frames=(), can_state=(0, 0)):
        """One millisecond: bytes of the chip line (at most 128) and frames [(bus, id, data)] or [(bus, id, data, flags)] in."""
        if uart.shape[0] > 128 or len(frames) > 24:
            raise ValueError("at most 128 bytes and 24 frames fit into one step")
        self._in.now_us = now_us
        self._in.pins.digital = pins
        self._in.pins.supply_mv = supply_mv
        self._in.can_state[0] = can_state[0]
        self._in.can_state[1] = can_state[1]
        self._in.uart_count[0] = <uint16_t>uart.shape[0]
        if uart.shape[0]:
            memcpy(self._in.uart_bytes[0], &uart[0], uart.shape[0])
        self._in.can_count = 0
        for frame in frames:
            self._put(frame)
        self._serve_memory()
        self._clear()
        ecu_step(self._self, &self._in, &self._out)
        self.now_us = now_us
        return self

    cdef _put(self, frame):
        cdef ecu_can_frame_t *into = &self._in.can[self._in.can_count]
        cdef bytes data = bytes(frame[2])
        into.bus = frame[0]
        into.id = frame[1]
        into.flags = frame[3] if len(frame) > 3 else 0
        into.length = <uint8_t>len(data)
        memcpy(into.data, <const char *>data, min(len(data), 64))
        self._in.can_count += 1

    cdef _serve_memory(self):
        self._in.nvm_done.op = 0
        if self._nvm_left_ms == 0 and self._out.nvm_want.op:
            memcpy(&self._pending, &self._out.nvm_want, sizeof(ecu_nvm_t))
            self._nvm_left_ms = flash_ms(&self._pending)
        if self._nvm_left_ms == 0:
            return
        self._nvm_left_ms -= 1
        if self._nvm_left_ms == 0:
            memcpy(&self._in.nvm_done, &self._pending, sizeof(ecu_nvm_t))
            flash_operate(<uint8_t *>self.nvm, &self._in.nvm_done)

    cdef _clear(self):
        memset(&self._out.pins, 0, sizeof(self._out.pins))
        self._out.watchdog_kick = self._out.reset_wanted = False
        self._out.sleep_ms = 0
        self._out.nvm_want.op = 0
        self._out.can_count = 0
        for k in range(2):
            self._out.uart[k].count = 0
            self._out.uart[k].low_us = 0

    def idle_ns(self, int steps):
        """Mean time of a step without any input, in nanoseconds; time runs on by 1 ms a step."""
        import time

        cdef int k
        self._in.uart_count[0] = self._in.can_count = 0
        self._in.nvm_done.op = 0
        began = time.perf_counter_ns()
        with nogil:
            for k in range(steps):
                self._out.can_count = 0
                self._out.uart[0].count = 0
                self._out.uart[0].low_us = 0
                self._in.now_us += 1000
                ecu_step(self._self, &self._in, &self._out)
        self.now_us = self._in.now_us
        return (time.perf_counter_ns() - began) / steps

    @property
    def pins(self):
        """Digital outputs."""
        return self._out.pins.digital

    @property
    def heater_pptt(self):
        """Heater duty, 0 to 10000."""
        return self._out.pins.heater_pptt

    @property
    def pump_pptt(self):
        """Pump duty, 0 to 10000."""
        return self._out.pins.pump_pptt

    @property
    def watchdog_kick(self):
        """Whether the watchdog was served."""
        return bool(self._out.watchdog_kick)

    @property
    def reset_wanted(self):
        """Whether it asks to be reset."""
        return bool(self._out.reset_wanted)

    @property
    def sleep_ms(self):
        """How long it may be left alone; 0: until the next millisecond."""
        return self._out.sleep_ms

    @property
    def uart(self):
        """Bytes for the chip line."""
        return PyBytes_FromStringAndSize(<const char *>self._out.uart[0].bytes, self._out.uart[0].count)

    @property
    def low_us(self):
        """Length of the low pulse before them."""
        return self._out.uart[0].low_us

    @property
    def baud(self):
        """Speed of the chip line."""
        return self._out.uart[0].baud

    @property
    def frames(self):
        """[(bus, id, data)] sent in the last step."""
        return [
            (self._out.can[k].bus, self._out.can[k].id,
             PyBytes_FromStringAndSize(<const char *>self._out.can[k].data, self._out.can[k].length))
            for k in range(self._out.can_count)
        ]

    def input_bytes(self):
        """The ecu_in_t of the last step, as bytes: what `replay_ns` takes."""
        return PyBytes_FromStringAndSize(<const char *>&self._in, sizeof(self._in))

    def replay_ns(self, bytes inputs, int times=1):
        """Feed recorded inputs (ecu_in_t after ecu_in_t) from the present state on, `times` over from a copy of it.

        Returns the mean nanoseconds of a step. The state afterwards is that after one replay.
        """
        import time

        cdef int k, n = <int>(len(inputs) // sizeof(ecu_in_t)), t
        cdef const ecu_in_t *table = <const ecu_in_t *>(<const char *>inputs)
        cdef bytes before = self.snapshot()
        best = float("inf")
        for t in range(times):
            self.restore(before)
            began = time.perf_counter_ns()
            with nogil:
                for k in range(n):
                    memset(&self._out.pins, 0, sizeof(self._out.pins))
                    self._out.can_count = 0
                    self._out.uart[0].count = 0
                    self._out.uart[0].low_us = 0
                    ecu_step(self._self, &table[k], &self._out)
            best = min(best, (time.perf_counter_ns() - began) / n)
        return best

    def enter(self, unsigned int before, unsigned int after):
        """For tests: put into a state and ask for the next. 1 followed, 0 not now, 2 an assertion ended it."""
        return try_to_enter(self._self, before, after)

    def begin_contactor_test(self):
        """What the service routine does: whether the test of the contactors has begun."""
        return bool(begin_test(self._self))

    def snapshot(self):
        """All state, as bytes."""
        return PyBytes_FromStringAndSize(<const char *>self._self, ecu_size())

    def restore(self, bytes state):
        """Back to a snapshot of the same build."""
        if <size_t>len(state) != ecu_size():
            raise ValueError("a snapshot of another build")
        memcpy(self._self, <const char *>state, ecu_size())


cdef class EstimatorBank:
    """The estimator alone: `blocks` filters with the parameters of a configuration, for tests and studies.

    Voltages are int32 microvolts, `valid` uint32 (all ones or 0), temperatures int32 centidegrees, shape (blocks,). Currents in
    ampere, positive on discharge; charges in microcoulomb. `state` maps the names of the bank's arrays to views of shape (blocks,).
    """

    cdef est_bank_t _bank
    cdef est_params_t _params
    cdef readonly uint32_t blocks
    cdef readonly dict state

    def __init__(self, bytes config, uint32_t blocks):
        if <size_t>len(config) != config_size or not 1 <= blocks <= BMS_CELLS_MAX:
            raise ValueError("not a configuration, or too many blocks")
        memcpy(&self._params, <const char *>config + config_est_offset, sizeof(est_params_t))
        self.blocks = blocks
        est_init(&self._bank, blocks)
        self.state = {
            "base": <float[:blocks]>self._bank.base, "delta": <float[:blocks]>self._bank.delta, "v2_v": <float[:blocks]>self._bank.v2_v,
            "p11": <float[:blocks]>self._bank.p11, "p12": <float[:blocks]>self._bank.p12, "p22": <float[:blocks]>self._bank.p22,
            "r0_ohm": <float[:blocks]>self._bank.r0_ohm, "soc_frac": <float[:blocks]>self._bank.soc_frac,
            "sigma_frac": <float[:blocks]>self._bank.sigma_frac,
        }  # fmt: skip
        self.state = {name: np.asarray(view) for name, view in self.state.items()}

    def conditions(self, const int32_t[::1] temperature_cdegc, float pressure_kpa=-1.0):
        """Temperature of each block and one pressure for all; negative is unknown."""
        self._fits(temperature_cdegc.shape[0])
        est_conditions(&self._bank, &self._params, 0, self.blocks, &temperature_cdegc[0], pressure_kpa)

    def start(self, const int32_t[::1] voltage_uv):
        """Start every block from its voltage at rest."""
        self._fits(voltage_uv.shape[0])
        for b in range(self.blocks):
            est_start(&self._bank, &self._params, b, voltage_uv[b])
        self.results(0)

    def step(self, float dt_s, float current_a, int64_t used_uc, const int32_t[::1] voltage_uv, const uint32_t[::1] valid):
        """One pass."""
        self._fits(voltage_uv.shape[0])
        self._fits(valid.shape[0])
        est_step(&self._bank, &self._params, dt_s, current_a, used_uc, &voltage_uv[0], &valid[0])

    def results(self, int64_t used_uc):
        """Drift applied, soc_frac and sigma_frac written. Returns pack (soc, low, high)."""
        cdef float growth = est_take_growth(&self._bank)
        est_results(&self._bank, &self._params, 0, self.blocks, growth, used_uc)
        pack = est_pack(&self._bank)
        return pack.soc_frac, pack.low_frac, pack.high_frac

    def pass_ns(self, int passes, const int32_t[::1] voltage_uv, const uint32_t[::1] valid):
        """Mean time of a pass in nanoseconds."""
        import time

        cdef int k
        self._fits(voltage_uv.shape[0])
        began = time.perf_counter_ns()
        with nogil:
            for k in range(passes):
                est_step(&self._bank, &self._params, 0.02, 10.0, 0, &voltage_uv[0], &valid[0])
        return (time.perf_counter_ns() - began) / passes

    def _fits(self, size_t count):
        if count != self.blocks:
            raise ValueError(f"expected {self.blocks} values, got {count}")
