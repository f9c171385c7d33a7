# Part of _links.pyx: the codecs as plain functions of bytes, and serial ports, for tests and for tools that bring their own transport.

cdef extern from "links/slcan.h" nogil:
    enum:
        SLCAN_LINE_MAX
        SLCAN_NO_STAMP

    ctypedef enum slcan_result_t:
        SLCAN_FRAME
        SLCAN_OTHER
        SLCAN_DIGIT
        SLCAN_LENGTH
        SLCAN_ID

    slcan_result_t slcan_read(const uint8_t *line, uint32_t length, link_frame_t *f, uint16_t *stamp_ms)
    uint32_t slcan_write(const link_frame_t *f, uint16_t stamp_ms, uint8_t *line)
    int slcan_speed_code(uint32_t bitrate)
    int slcan_data_speed_code(uint32_t bitrate)

cdef extern from "links/socketcand.h" nogil:
    enum:
        SOCKETCAND_MAX

    ctypedef enum socketcand_word_t:
        SC_FRAME
        SC_SEND
        SC_ERROR
        SC_UNKNOWN
        SC_DIGIT
        SC_LENGTH
        SC_ID

    socketcand_word_t socketcand_read(const uint8_t *text, uint32_t length, link_frame_t *f, uint64_t *stamp_us,
                                      const uint8_t **argument, uint32_t *argument_length)
    uint32_t socketcand_write_frame(const link_frame_t *f, uint64_t stamp_us, char *text)
    uint32_t socketcand_write_send(const link_frame_t *f, char *text)

cdef extern from "links/datagram.h" nogil:
    enum:
        DATAGRAM_HEAD
        DATAGRAM_FRAME_MAX
        DATAGRAM_FRAMES_MAX

    ctypedef enum datagram_result_t:
        DATAGRAM_FINE
        DATAGRAM_OTHER
        DATAGRAM_LENGTH
        DATAGRAM_ID

    datagram_result_t datagram_read(const uint8_t *bytes, uint32_t length, link_frame_t *out, uint32_t *count, uint8_t *sequence)
    uint32_t datagram_write_frame(const link_frame_t *f, uint8_t *bytes)
    void datagram_write_head(uint8_t *bytes, uint8_t sequence, uint32_t count)

cdef extern from "links/serial.h" nogil:
    ctypedef struct serial_unmark_t:
        uint8_t pending

    int c_serial_open "serial_open"(const char *path, uint32_t baud, uint32_t options)
    int c_serial_pty "serial_pty"(char *path, size_t path_size)
    int c_serial_set_baud "serial_set_baud"(int fd, uint32_t baud)
    uint32_t c_serial_baud "serial_baud"(int fd)
    bint c_serial_is_low_pulse "serial_is_low_pulse"(uint32_t baud, uint8_t byte, uint32_t *low_us)
    int c_serial_low_begin "serial_low_begin"(int fd, uint32_t low_us)
    int c_serial_low_end "serial_low_end"(int fd, uint32_t baud)
    uint32_t c_serial_unmark "serial_unmark"(serial_unmark_t *s, const uint8_t *bytes, uint32_t count, uint16_t *out)


cdef tuple _SLCAN_FAULTS = ("", "unknown", "digit", "length", "identifier")
cdef tuple _SC_FAULTS = ("unknown", "digit", "length", "identifier")
cdef tuple _DATAGRAM_FAULTS = ("", "unknown", "length", "identifier")


def slcan_decode(bytes line not None):
    """(frame, time stamp in ms or None) of a line without its CR, or a word that says what is wrong with it."""
    cdef Frame frame = Frame.__new__(Frame)
    cdef uint16_t stamp_ms = SLCAN_NO_STAMP
    cdef slcan_result_t result = slcan_read(<const uint8_t *>PyBytes_AS_STRING(line), <uint32_t>PyBytes_GET_SIZE(line), &frame.f, &stamp_ms)
    if result != SLCAN_FRAME:
        return _SLCAN_FAULTS[<int>result]
    frame.f.time_us, frame.f.bus = 0, 0
    return frame, None if stamp_ms == SLCAN_NO_STAMP else stamp_ms


def slcan_encode(Frame frame not None, stamp_ms=None):
    """The line with its CR; empty if SLCAN has none for such a frame."""
    cdef uint8_t line[SLCAN_LINE_MAX]
    cdef uint32_t n = slcan_write(&frame.f, SLCAN_NO_STAMP if stamp_ms is None else stamp_ms, line)
    return PyBytes_FromStringAndSize(<char *>line, n)


def slcan_code(uint32_t bitrate, bint data=False):
    """The digit of the S (or Y) command for a bit rate, or None."""
    code = slcan_data_speed_code(bitrate) if data else slcan_speed_code(bitrate)
    return None if code < 0 else code


def socketcand_decode(bytes text not None):
    """(frame, time of it in us) of the words between < and >: of frame, rtr, error, send (time 0); else what is wrong, or "other"."""
    cdef Frame frame = Frame.__new__(Frame)
    cdef uint64_t stamp_us = 0
    cdef const uint8_t *argument
    cdef uint32_t length
    cdef socketcand_word_t word = socketcand_read(
        <const uint8_t *>PyBytes_AS_STRING(text), <uint32_t>PyBytes_GET_SIZE(text), &frame.f, &stamp_us, &argument, &length
    )
    frame.f.time_us, frame.f.bus = 0, 0
    if word == SC_FRAME or word == SC_SEND:
        return frame, stamp_us
    return _SC_FAULTS[<int>word - <int>SC_UNKNOWN] if word >= SC_UNKNOWN else "other"


def socketcand_encode(Frame frame not None, stamp_us=None):
    """What a server writes with a time, a client without; empty if there is no such message."""
    cdef char text[SOCKETCAND_MAX]
    cdef uint32_t n
    n = socketcand_write_send(&frame.f, text) if stamp_us is None else socketcand_write_frame(&frame.f, stamp_us, text)
    return PyBytes_FromStringAndSize(text, n)


def datagram_decode(bytes raw not None):
    """(frames, sequence number), or a word that says what is wrong."""
    cdef link_frame_t[DATAGRAM_FRAMES_MAX] out
    cdef uint32_t count
    cdef uint8_t sequence
    cdef Frame frame
    result = datagram_read(<const uint8_t *>PyBytes_AS_STRING(raw), <uint32_t>PyBytes_GET_SIZE(raw), out, &count, &sequence)
    if result != DATAGRAM_FINE:
        return _DATAGRAM_FAULTS[<int>result]
    frames = []
    for k in range(count):
        frame = Frame.__new__(Frame)
        frame.f = out[k]
        frame.f.time_us = 0
        frames.append(frame)
    return frames, sequence


def datagram_encode(list frames not None, uint8_t sequence=0):
    """One datagram; it is for the caller to keep it shorter than the network allows."""
    cdef uint8_t piece[DATAGRAM_FRAME_MAX]
    cdef uint8_t head[DATAGRAM_HEAD]
    cdef Frame frame
    datagram_write_head(head, sequence, <uint32_t>len(frames))
    parts = [PyBytes_FromStringAndSize(<char *>head, DATAGRAM_HEAD)]
    for frame in frames:
        parts.append(PyBytes_FromStringAndSize(<char *>piece, datagram_write_frame(&frame.f, piece)))
    return b"".join(parts)


cdef int _checked(str what, int result) except -1:
    if result < 0:
        raise OSError(-result, os.strerror(-result), what)
    return result


def serial_open(str path not None, uint32_t baud=0, *, bint marks=False, bint low_latency=False, bint exclusive=False):
    """A descriptor: raw 8N1, not blocking, any speed (0: as it is). OSError."""
    return _checked(path, c_serial_open(path.encode(), baud, marks * 1 + low_latency * 2 + exclusive * 4))


def serial_pty():
    """(descriptor of the server's side, device of the client's side) of a new raw pseudo-terminal. OSError."""
    cdef char path[64]
    return _checked("pseudo-terminal", c_serial_pty(path, sizeof(path))), path.decode()


def serial_set_baud(int fd, uint32_t baud):
    _checked("speed", c_serial_set_baud(fd, baud))


def serial_baud(int fd):
    """Speed in bit/s; of a pseudo-terminal's server side: the client's."""
    return c_serial_baud(fd)


def serial_low_pulse_us(uint32_t baud, uint8_t byte):
    """Length in us of the low pulse that a byte received at this speed is, or None if it is data."""
    cdef uint32_t low_us = 0
    return low_us if c_serial_is_low_pulse(baud, byte, &low_us) else None


def serial_low_begin(int fd, uint32_t low_us):
    """Pull the line low for so long, in the background."""
    _checked("low pulse", c_serial_low_begin(fd, low_us))


def serial_low_end(int fd, uint32_t baud):
    """True once the pulse is out and the speed is back."""
    return _checked("low pulse", c_serial_low_end(fd, baud)) == 0


cdef class Unmark:
    """Bytes of a marked port (serial_open(marks=True)), piece by piece, to data and marks: 0x100 BREAK, 0x200 | byte an error."""

    cdef serial_unmark_t s

    def feed(self, bytes raw not None):
        cdef uint32_t n = <uint32_t>PyBytes_GET_SIZE(raw)
        out = np.empty(n + 1, np.uint16)
        cdef uint16_t[::1] view = out
        n = c_serial_unmark(&self.s, <const uint8_t *>PyBytes_AS_STRING(raw), n, &view[0])
        return out[:n].tolist()
