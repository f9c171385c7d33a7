# Part of _links.pyx: one frame as a Python object.

@cython.freelist(256)
cdef class Frame:
    """One CAN or CAN FD frame.

    `id` 11 bit, or 29 bit if `extended`; `data` up to 8 bytes, with `fd` 0 to 8, 12, 16, 20, 24, 32, 48 or 64. A `remote` frame
    has no data but asks for `length` bytes. `error`: an error frame, `id` is its class. `time_s` is on the clock of
    time.monotonic(), 0 if unknown; it is no part of equality. ValueError for what cannot be a frame.
    """

    cdef link_frame_t f

    def __init__(self, uint32_t id, data=b"", *, bint extended=False, bint remote=False, bint fd=False, bint brs=False,
                 bint error=False, length=None, double time_s=0.0):
        cdef bytes raw = data if type(data) is bytes else bytes(data)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(raw)
        cdef Py_ssize_t said = n if length is None else length
        if id > (0x1FFFFFFFu if extended or error else 0x7FFu):
            raise ValueError(f"identifier {id:#x} does not fit into {29 if extended or error else 11} bits")
        if brs and not fd or fd and (remote or error):
            raise ValueError("brs needs fd; fd goes neither with remote nor with error")
        if said < 0 or said > (64 if fd else 8) or n > said or (n != said and not remote) or remote and n:
            raise ValueError(f"{n} bytes of data, length {said}: at most {64 if fd else 8}, and none in a remote frame")
        if fd and fd_dlc(<uint8_t>said) == 0xFF:
            raise ValueError(f"CAN FD has no frame of {said} bytes")
        memset(&self.f, 0, sizeof(link_frame_t))
        self.f.time_us = <uint64_t>(time_s * 1e6) if time_s > 0.0 else 0
        self.f.id = id
        self.f.length = <uint8_t>said
        self.f.flags = (ECU_CAN_EXTENDED * extended | ECU_CAN_REMOTE * remote | ECU_CAN_FD * fd | ECU_CAN_BRS * brs
                        | ECU_CAN_ERROR * error)
        memcpy(self.f.data, PyBytes_AS_STRING(raw), n)

    @property
    def id(self):
        return self.f.id

    @property
    def data(self):
        return PyBytes_FromStringAndSize(<char *>self.f.data, 0 if self.f.flags & ECU_CAN_REMOTE else self.f.length)

    @property
    def length(self):
        return self.f.length

    @property
    def flags(self):
        """The ECU_CAN_* bits of ecu.h."""
        return self.f.flags

    @property
    def extended(self):
        return self.f.flags & ECU_CAN_EXTENDED != 0

    @property
    def remote(self):
        return self.f.flags & ECU_CAN_REMOTE != 0

    @property
    def fd(self):
        return self.f.flags & ECU_CAN_FD != 0

    @property
    def brs(self):
        return self.f.flags & ECU_CAN_BRS != 0

    @property
    def error(self):
        return self.f.flags & ECU_CAN_ERROR != 0

    @property
    def time_s(self):
        return self.f.time_us * 1e-6

    @property
    def time_us(self):
        return self.f.time_us

    def __eq__(self, other):
        if not isinstance(other, Frame):
            return NotImplemented
        cdef Frame o = other
        if self.f.id != o.f.id or self.f.length != o.f.length or self.f.flags != o.f.flags:
            return False
        return self.f.flags & ECU_CAN_REMOTE != 0 or memcmp(self.f.data, o.f.data, self.f.length) == 0

    def __hash__(self):
        return hash((self.f.id, self.f.flags, self.f.length, self.data))

    def __reduce__(self):
        return _frame_again, (PyBytes_FromStringAndSize(<char *>&self.f, sizeof(link_frame_t)),)

    def __repr__(self):
        """As candump writes it: 123#AABB, 18FF50E5#R4, 123##1AABB (flags digit of CAN FD)."""
        number = f"{self.f.id:08X}" if self.f.flags & (ECU_CAN_EXTENDED | ECU_CAN_ERROR) else f"{self.f.id:03X}"
        if self.f.flags & ECU_CAN_REMOTE:
            return f"{number}#R{self.f.length or ''}"
        middle = f"##{1 if self.brs else 0}" if self.f.flags & ECU_CAN_FD else "#"
        return f"{number}{middle}{self.data.hex().upper()}{' error' if self.error else ''}"


def _frame_again(bytes raw):
    cdef Frame frame = Frame.__new__(Frame)
    memcpy(&frame.f, PyBytes_AS_STRING(raw), sizeof(link_frame_t))
    return frame
