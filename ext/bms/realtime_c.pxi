# Included by _realtime.pyx: what it needs of ext/realtime and ext/links.

cdef extern from "ecu_api.h":
    ctypedef struct ecu_api_t:
        size_t (*size)() noexcept nogil
    ctypedef struct ecu_t:
        pass
    ctypedef struct ecu_can_frame_t:
        uint32_t id
        uint8_t bus, length, flags, reserved
        uint8_t data[64]
    ctypedef struct ecu_uart_out_t:
        uint32_t baud, low_us
        uint16_t count
        uint8_t bytes[64]
    ctypedef struct ecu_pins_in_t:
        uint32_t supply_mv, digital
    ctypedef struct ecu_pins_out_t:
        uint32_t digital
        uint16_t heater_pptt, pump_pptt

cdef extern from "links/link.h":
    ctypedef struct link_t:
        pass
    ctypedef struct link_api_t:
        pass

cdef extern from "links/serial.h":
    int serial_open(const char *, uint32_t, uint32_t)
    int serial_pty(char *, size_t)
    int serial_link(const char *, const char *)
    void serial_unlink(const char *, const char *)
    bint serial_is_alone(int)
    enum:
        SERIAL_MARKS, SERIAL_LOW_LATENCY, SERIAL_EXCLUSIVE

cdef extern from "realtime/emulator.h" nogil:
    ctypedef struct pace_t:
        uint64_t due_us
    ctypedef struct gate_t:
        uint32_t state
    ctypedef struct io_t:
        uint8_t is_fresh
    ctypedef struct line_t:
        int32_t fd
    ctypedef struct runner_t:
        uint32_t priority, stop, lines_in, lines_out
        uint64_t beat_us
    ctypedef struct wires_t:
        const link_api_t *api
        link_t *link[2]
    ctypedef struct world_t:
        pass
    ctypedef struct loop_inputs_t:
        pass
    ctypedef struct recorder_t:
        pass
    ctypedef uint32_t loop_run_t(world_t *, const loop_inputs_t *, uint32_t, uint32_t *)
    ctypedef struct poke_t:
        uint64_t offset, bits
        uint32_t size
    ctypedef struct event_t:
        uint64_t us
        uint32_t kind, code, level
        int32_t index
        float value
    ctypedef struct emulator_fields_t:
        uint64_t conditions
        double heard_demand_w
    ctypedef struct emulator_t:
        runner_t runner
        emulator_fields_t fields
        line_t line
        io_t io
        wires_t wires
        world_t *world
        loop_inputs_t *inputs
        loop_run_t *run
        poke_t poke[1]
        uint32_t poke_head, poke_tail
        event_t event[1]
        uint32_t event_head, event_tail
        recorder_t *recorder_next
        recorder_t *recorder_done
        int32_t line_next_fd
        uint32_t line_next_kind
    const uint64_t POKE_PROFILE
    const uint32_t EMULATOR_POKES, EMULATOR_EVENTS, PACE_BINS
    const ecu_api_t *emulator_stand_in()
    void emulator_init(emulator_t *)
    void emulator_run(emulator_t *, uint32_t)
    uint64_t runner_now_us()
    ctypedef void runner_step_t(void *, uint64_t) noexcept nogil
    void runner_run(runner_t *, uint32_t, runner_step_t *, void *)
    void pace_start(pace_t *, uint64_t)
    uint32_t pace_due(pace_t *, uint64_t)
    void pace_step(pace_t *, uint64_t)
    uint64_t pace_bin_us(uint32_t)
    void gate_arm(gate_t *, uint64_t, uint64_t)
    uint32_t gate_levels(gate_t *, uint64_t, uint64_t, uint32_t)
    void line_init(line_t *)
    void line_attach(line_t *, int32_t, uint32_t)
    void line_send(line_t *, uint64_t, const ecu_uart_out_t *)
    uint16_t line_receive(line_t *, uint64_t, uint8_t *, uint16_t *)
    void line_hear(line_t *, uint64_t, bint, ecu_uart_out_t *)
    void line_answer(line_t *, const uint8_t *, uint32_t)
    void io_init(io_t *)
    void io_pack_inputs(io_t *, const ecu_pins_in_t *, ecu_can_frame_t *)
    void io_pack_outputs(io_t *, const ecu_pins_out_t *, ecu_can_frame_t *)
    bint io_take_inputs(io_t *, uint64_t, const ecu_can_frame_t *)
    bint io_take_outputs(io_t *, uint64_t, const ecu_can_frame_t *)
    void io_inputs(io_t *, uint64_t, ecu_pins_in_t *)
    void io_outputs(io_t *, uint64_t, ecu_pins_out_t *)

cdef extern from "realtime/host.h" nogil:
    ctypedef struct host_fields_t:
        uint32_t nvm_state, nvm_page
        uint8_t nvm[1]
    ctypedef struct host_t:
        runner_t runner
        host_fields_t fields
        line_t line
        io_t io
        wires_t wires
        const ecu_api_t *api
        ecu_t *firmware
        const void *config
        size_t config_size
        uint8_t entropy[16]
        int32_t nvm_event
        int32_t line_next_fd
        uint32_t line_next_kind
    enum:
        HOST_NVM_IDLE, HOST_NVM_STORE, HOST_NVM_STORED, HOST_NVM_FAILED
    void host_init(host_t *)
    void host_run(host_t *, uint32_t)
    void host_step(void *, uint64_t)

cdef extern from "realtime/lines.h" nogil:
    ctypedef struct lines_fields_t:
        int32_t fd
        uint64_t arm_us
    ctypedef struct lines_t:
        lines_fields_t fields
        gate_t gate
    int lines_open(lines_t *)
    void lines_step(lines_t *, runner_t *, uint64_t)
    void lines_run(lines_t *, runner_t *, uint32_t)

cdef extern from *:
    """
    #include "realtime/emulator.h"
    #include "realtime/host.h"
    #include "realtime/lines.h"
    #define LOAD32(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define STORE32(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define SWAP_POINTER(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
    """
    uint32_t LOAD32(uint32_t *) nogil
    void STORE32(uint32_t *, uint32_t) nogil
    void STORE_FD "STORE32"(int32_t *, int32_t) nogil
    void STORE64 "STORE32"(uint64_t *, uint64_t) nogil
    recorder_t *SWAP_POINTER(recorder_t **, recorder_t *) nogil
    const field_t pace_fields[]
    const field_t gate_fields[]
    const field_t io_fields[]
    const field_t line_fields[]
    const field_t emulator_fields[]
    const field_t host_fields[]
    const field_t lines_fields[]
    const size_t pace_field_count, gate_field_count, io_field_count, line_field_count, emulator_field_count
    const size_t host_field_count, lines_field_count
