# Included by _realtime.pyx: the parts of ext/realtime that need neither clock nor wires, one by one, for tests.

cdef void _nothing(void *self, uint64_t now_us) noexcept nogil:
    pass


cdef class Runner:
    """A runner whose steps do nothing: the words it shares, and what the machine's clock can do."""

    cdef _Memory _memory
    cdef runner_t *_r
    cdef readonly dict pace

    def __init__(self):
        self._memory = _Memory()
        self._r = <runner_t *>self._memory.take(sizeof(runner_t))
        self.pace = _views(self._memory.array, 0, pace_fields, pace_field_count)

    @property
    def address(self):
        return <uintptr_t>self._r

    def set(self, uint64_t beat_us, uint32_t lines_out):
        self._r.beat_us, self._r.lines_out = beat_us, lines_out

    @property
    def lines_in(self):
        return self._r.lines_in

    def run(self, uint32_t priority):
        """Until `stop`, in a thread of its own."""
        with nogil:
            runner_run(self._r, priority, _nothing, NULL)

    def stop(self):
        STORE32(&self._r.stop, 1)


cdef class Pace:
    """pace_t with made-up times."""

    cdef _Memory _memory
    cdef pace_t *_p
    cdef readonly dict fields

    def __init__(self, uint64_t now_us):
        self._memory = _Memory()
        self._p = <pace_t *>self._memory.take(sizeof(pace_t))
        pace_start(self._p, now_us)
        self.fields = _views(self._memory.array, 0, pace_fields, pace_field_count)

    def due(self, uint64_t now_us):
        return pace_due(self._p, now_us)

    def step(self, uint64_t now_us):
        pace_step(self._p, now_us)


cdef class Gate:
    """gate_t with made-up times."""

    cdef _Memory _memory
    cdef gate_t *_g
    cdef readonly dict fields

    def __init__(self):
        self._memory = _Memory()
        self._g = <gate_t *>self._memory.take(sizeof(gate_t))
        self.fields = _views(self._memory.array, 0, gate_fields, gate_field_count)

    def arm(self, uint64_t now_us, uint64_t span_us):
        gate_arm(self._g, now_us, span_us)

    def levels(self, uint64_t now_us, uint64_t beat_us, uint32_t wanted):
        return gate_levels(self._g, now_us, beat_us, wanted)


cdef class Line:
    """A line_t: `send` and `receive` are the control unit's end, `hear` and `answer` the chips'."""

    cdef _Memory _memory
    cdef line_t *_l
    cdef readonly dict fields

    def __init__(self):
        self._memory = _Memory()
        self._l = <line_t *>self._memory.take(sizeof(line_t))
        line_init(self._l)
        self.fields = _views(self._memory.array, 0, line_fields, line_field_count)

    def attach(self, int32_t fd, uint32_t kind):
        line_attach(self._l, fd, kind)

    def send(self, uint64_t now_us, bytes data, uint32_t baud, uint32_t low_us=0):
        cdef ecu_uart_out_t out
        memset(&out, 0, sizeof(out))
        out.baud, out.low_us, out.count = baud, low_us, <uint16_t>len(data)
        memcpy(out.bytes, <const char *>data, min(len(data), 64))
        line_send(self._l, now_us, &out)

    def receive(self, uint64_t now_us):
        cdef uint8_t data[128]
        cdef uint16_t errors = 0
        count = line_receive(self._l, now_us, data, &errors)
        return (<char *>data)[:count]

    def hear(self, uint64_t now_us, bint base_sleeps=False):
        """(baud, low_us, bytes); baud 0 when there was nothing."""
        cdef ecu_uart_out_t host
        memset(&host, 0, sizeof(host))
        line_hear(self._l, now_us, base_sleeps, &host)
        return host.baud, host.low_us, (<char *>host.bytes)[:host.count]

    def answer(self, bytes data):
        line_answer(self._l, <const uint8_t *><const char *>data, <uint32_t>len(data))


cdef class IoModule:
    """One end of the I/O module's messages: `pack_*` gives 8 bytes, `take_*` is offered (id, data, flags)."""

    cdef _Memory _memory
    cdef io_t *_io
    cdef readonly dict fields

    def __init__(self):
        self._memory = _Memory()
        self._io = <io_t *>self._memory.take(sizeof(io_t))
        io_init(self._io)
        self.fields = _views(self._memory.array, 0, io_fields, io_field_count)

    def pack_inputs(self, uint32_t digital, uint32_t supply_mv):
        cdef ecu_pins_in_t pins = ecu_pins_in_t(supply_mv, digital)
        cdef ecu_can_frame_t frame
        io_pack_inputs(self._io, &pins, &frame)
        return frame.id, (<char *>frame.data)[:8]

    def pack_outputs(self, uint32_t digital, uint16_t heater_pptt=0, uint16_t pump_pptt=0):
        cdef ecu_pins_out_t pins = ecu_pins_out_t(digital, heater_pptt, pump_pptt)
        cdef ecu_can_frame_t frame
        io_pack_outputs(self._io, &pins, &frame)
        return frame.id, (<char *>frame.data)[:8]

    cdef ecu_can_frame_t _frame(self, identifier, bytes data, flags):
        cdef ecu_can_frame_t frame
        memset(&frame, 0, sizeof(frame))
        frame.id, frame.length, frame.flags = identifier, <uint8_t>len(data), flags
        memcpy(frame.data, <const char *>data, min(len(data), 64))
        return frame

    def take_inputs(self, uint64_t now_us, identifier, bytes data, flags=0):
        cdef ecu_can_frame_t frame = self._frame(identifier, data, flags)
        return io_take_inputs(self._io, now_us, &frame)

    def take_outputs(self, uint64_t now_us, identifier, bytes data, flags=0):
        cdef ecu_can_frame_t frame = self._frame(identifier, data, flags)
        return io_take_outputs(self._io, now_us, &frame)

    def inputs(self, uint64_t now_us):
        """(digital, supply_mv) that hold now."""
        cdef ecu_pins_in_t pins
        io_inputs(self._io, now_us, &pins)
        return pins.digital, pins.supply_mv

    def outputs(self, uint64_t now_us):
        """(digital, heater_pptt, pump_pptt) that hold now."""
        cdef ecu_pins_out_t pins
        io_outputs(self._io, now_us, &pins)
        return pins.digital, pins.heater_pptt, pins.pump_pptt
