# distutils: sources = ext/firmware/aes.c ext/firmware/cmac.c
"""Bits of CAN messages <-> values by name, driven by tables that bms.protocols.codec makes of any message database."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Copy, PyDict_SetItem, PyDict_Size
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact, PyFloat_FromDouble
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_Check, PyLong_FromLongLong, PyLong_FromUnsignedLongLong
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_Check
from libc.math cimport isnan, rint
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from bms.errors import ConfigError

cdef extern from "cmac.h" nogil:
    void cmac_aes128(const uint8_t *key, const uint8_t *data, uint32_t count, uint8_t *mac)

cdef extern from "e2e.h" nogil:
    uint8_t e2e_p01_crc(uint16_t data_id, const uint8_t *data, uint32_t length)

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object, object)

cdef extern from *:
    """
    static inline uint64_t dbc_load(const uint8_t *at, int is_big)
    {
        uint64_t word = 0;
        if (is_big) for (int k = 0; k < 8; ++k) word = word << 8 | at[k];
        else for (int k = 7; k >= 0; --k) word = word << 8 | at[k];
        return word;
    }
    static inline void dbc_or(uint8_t *at, uint64_t word, int is_big)
    {
        if (is_big) for (int k = 7; k >= 0; --k, word >>= 8) at[k] |= (uint8_t)word;
        else for (int k = 0; k < 8; ++k, word >>= 8) at[k] |= (uint8_t)word;
    }
    """
    uint64_t dbc_load(const uint8_t *, int) nogil
    void dbc_or(uint8_t *, uint64_t, int) nogil

EXTENDED = 1 << 31

cdef enum:
    ROOM = 96  # a frame of 64 bytes, and what a wide load may touch behind it
    UNSIGNED = 0
    SIGNED = 1
    SINGLE = 2
    DOUBLE = 3
    AS_IS = 0    # the raw number
    INTEGER = 1  # scale and offset are whole
    LINEAR = 2

cdef double HALF_WAY = 6755399441055744.0  # 1.5 * 2^52: adding it leaves no fraction, rounded to even, and no library is called

cdef struct signal_t:
    uint16_t byte     # first byte that is loaded
    uint8_t shift, bits, is_big, kind, conversion, word_kind
    double scale, offset, lowest, highest
    int64_t int_scale, int_offset, only_raw
    uint64_t mask, missing

cdef enum:
    NO_WORDS = 0
    ONE_WORD = 1
    WORD_LIST = 2
    WORD_DICT = 3


cdef inline uint64_t _extract(const signal_t *s, const uint8_t *data) noexcept nogil:
    cdef uint64_t word = dbc_load(data + s.byte, s.is_big)
    cdef int more = s.shift + s.bits - 64
    if s.is_big:
        if more <= 0:
            return (word >> -more) & s.mask
        return (word << more | data[s.byte + 8] >> (8 - more)) & s.mask
    word >>= s.shift
    if more > 0:
        word |= <uint64_t>data[s.byte + 8] << (64 - s.shift)
    return word & s.mask


cdef inline void _insert(const signal_t *s, uint8_t *data, uint64_t raw) noexcept nogil:
    cdef int more = s.shift + s.bits - 64
    raw &= s.mask
    if s.is_big:
        if more <= 0:
            dbc_or(data + s.byte, raw << -more, 1)
        else:
            dbc_or(data + s.byte, raw >> more, 1)
            data[s.byte + 8] |= <uint8_t>(raw << (8 - more))
        return
    dbc_or(data + s.byte, raw << s.shift, 0)
    if more > 0:
        data[s.byte + 8] |= <uint8_t>(raw >> (64 - s.shift))


cdef inline int64_t _signed(const signal_t *s, uint64_t raw) noexcept nogil:
    cdef uint64_t sign = <uint64_t>1 << (s.bits - 1)
    return <int64_t>((raw ^ sign) - sign) if s.kind == SIGNED else <int64_t>raw


cdef inline double _float_of(const signal_t *s, uint64_t raw) noexcept nogil:
    cdef float single
    cdef double value
    cdef uint32_t half
    if s.kind == DOUBLE:
        memcpy(&value, &raw, 8)
        return value
    half = <uint32_t>raw
    memcpy(&single, &half, 4)
    return single


cdef inline double _number(const signal_t *s, uint64_t raw) noexcept nogil:
    """The physical value as a double."""
    cdef double value
    if s.kind >= SINGLE:
        value = _float_of(s, raw)
    elif s.kind == SIGNED:
        value = <double>_signed(s, raw)
    else:
        value = <double>raw
    return value if s.conversion == AS_IS else value * s.scale + s.offset


cdef class Group:
    """Signals that are always there together, and for each multiplexer among them the groups it selects."""

    cdef signal_t *signals
    cdef int count
    cdef tuple names, words, numbers, units
    cdef dict template
    cdef public tuple muxes  # of (place of the multiplexer, {raw: Group})

    def __cinit__(self, rows):
        self.count = len(rows)
        self.signals = <signal_t *>calloc(max(self.count, 1), sizeof(signal_t))
        if self.signals == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.signals)

    def __init__(self, rows):
        """rows: dicts as bms.protocols.codec makes them."""
        cdef signal_t *s
        self.names = tuple(row["name"] for row in rows)
        self.words = tuple(row["words"] for row in rows)
        self.numbers = tuple(row["numbers"] for row in rows)
        self.units = tuple(row["unit"] for row in rows)
        self.template = dict.fromkeys(self.names)
        self.muxes = ()
        for k, row in enumerate(rows):
            s = &self.signals[k]
            s.byte, s.shift, s.bits, s.is_big = row["byte"], row["shift"], row["bits"], row["is_big"]
            s.kind, s.conversion, s.word_kind = row["kind"], row["conversion"], row["word_kind"]
            s.scale, s.offset, s.lowest, s.highest = row["scale"], row["offset"], row["lowest"], row["highest"]
            s.int_scale, s.int_offset, s.only_raw = row["int_scale"], row["int_offset"], row["only_raw"]
            s.mask = <uint64_t>0xFFFFFFFFFFFFFFFFu >> (64 - s.bits)
            s.missing = row["missing"]


cdef inline object _value(Group g, int k, uint64_t raw):
    cdef const signal_t *s = &g.signals[k]
    cdef PyObject *word
    cdef int64_t whole
    cdef object words
    if s.kind >= SINGLE:
        return PyFloat_FromDouble(_number(s, raw))
    whole = _signed(s, raw)
    if s.word_kind == ONE_WORD:
        if whole == s.only_raw:
            return <object>PyTuple_GET_ITEM(g.words, k)
    elif s.word_kind == WORD_LIST:
        words = <object>PyTuple_GET_ITEM(g.words, k)
        if raw < <uint64_t>len(<list>words):
            entry = (<list>words)[<Py_ssize_t>raw]
            if entry is not Ellipsis:
                return entry
    elif s.word_kind == WORD_DICT:
        words = <object>PyTuple_GET_ITEM(g.words, k)
        word = PyDict_GetItemWithError(words, whole if s.kind == SIGNED else raw)
        if word != NULL:
            return <object>word
    if s.conversion == LINEAR:
        return PyFloat_FromDouble(_number(s, raw))
    if s.conversion == AS_IS:
        return PyLong_FromLongLong(whole) if s.kind == SIGNED else PyLong_FromUnsignedLongLong(raw)
    if s.bits <= 32:
        return PyLong_FromLongLong(whole * s.int_scale + s.int_offset)
    return (whole if s.kind == SIGNED else raw) * s.int_scale + s.int_offset


cdef class Message:
    """One message. `decode` takes bytes and returns a dict, or None with the cause in `trouble`."""

    cdef readonly str name, file, trouble
    cdef readonly int length
    cdef int data_id
    cdef Group root
    cdef bint is_flat

    def __init__(self, str name, str file, int length, Group root, int data_id=-1):
        self.name, self.file, self.length, self.root, self.data_id = name, file, length, root, data_id
        self.is_flat = not root.muxes

    cdef bint _add(self, Group g, dict values, const uint8_t *data) except -1:
        """Values of the groups that the multiplexers of g select; False for a selector that none knows."""
        cdef Group chosen
        cdef int k
        for place, groups in g.muxes:
            chosen = groups.get(_extract(&g.signals[<int>place], data))
            if chosen is None:
                self.trouble = "unknown multiplexer value"
                return False
            for k in range(chosen.count):
                PyDict_SetItem(values, <object>PyTuple_GET_ITEM(chosen.names, k), _value(chosen, k, _extract(&chosen.signals[k], data)))
            if chosen.muxes and not self._add(chosen, values, data):
                return False
        return True

    cdef dict take(self, bytes frame):
        cdef uint8_t data[ROOM]
        cdef Py_ssize_t n = PyBytes_GET_SIZE(frame)
        cdef Group g = self.root
        cdef dict values
        cdef int k
        if n < self.length:
            self.trouble = "too short"
            return None
        if n > 64:
            n = 64
        memcpy(data, PyBytes_AS_STRING(frame), n)
        memset(data + n, 0, 16)
        values = PyDict_Copy(g.template)
        for k in range(g.count):
            PyDict_SetItem(values, <object>PyTuple_GET_ITEM(g.names, k), _value(g, k, _extract(&g.signals[k], data)))
        if not self.is_flat and not self._add(g, values, data):
            return None
        return values

    def decode(self, bytes frame not None):
        """Values by name, or None: too short (longer is cut), or a multiplexer value that is not in the database."""
        return self.take(frame)

    cdef object _refuse(self, Group g, int k, value):
        numbers = g.numbers[k]
        cdef const signal_t *s = &g.signals[k]
        if PyUnicode_Check(value):
            expected = "one of " + ", ".join(numbers) if numbers else "a number"
        elif isinstance(value, (int, float)):
            expected = f"{s.lowest:g} to {s.highest:g} {g.units[k]}".rstrip()
        else:
            expected = "a number, a word or nothing"
        raise ConfigError(self.file, f"{self.name}.{g.names[k]}", value, expected)

    cdef uint64_t _raw(self, Group g, int k, object value) except? 0xDEAD:
        """The raw number of a value; ConfigError if it cannot be."""
        cdef const signal_t *s = &g.signals[k]
        cdef PyObject *found
        cdef double x, slack
        cdef float single
        cdef uint32_t half
        cdef uint64_t raw
        cdef long long whole
        cdef int overflow = 0
        if PyFloat_CheckExact(value):
            x = PyFloat_AS_DOUBLE(value)
            if isnan(x) and s.kind < SINGLE:
                return s.missing
        elif PyLong_Check(value):
            if s.bits > 52 and s.kind < SINGLE and s.conversion != LINEAR:
                return self._big(g, k, value)
            whole = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                self._refuse(g, k, value)
            x = <double>whole
        elif value is None:
            return s.missing
        elif PyUnicode_Check(value):
            numbers = <object>PyTuple_GET_ITEM(g.numbers, k)
            found = PyDict_GetItemWithError(numbers, value) if numbers is not None else NULL
            if found == NULL:
                self._refuse(g, k, value)
            return <uint64_t>(<int64_t><object>found) if s.kind == SIGNED else <uint64_t><object>found
        else:
            try:
                value = float(value)
            except (TypeError, ValueError):
                self._refuse(g, k, value)
            return self._raw(g, k, value)
        # 2047 * 0.1 is a rounding above 204.7 and the same raw number; whole numbers have no such slack
        slack = 0.0 if s.conversion == AS_IS else (s.scale if s.scale > 0 else -s.scale) * 1e-6
        if not (s.lowest - slack <= x <= s.highest + slack) and not (s.kind >= SINGLE and isnan(x)):
            self._refuse(g, k, value)
        if s.conversion != AS_IS:
            x = (x - s.offset) / s.scale
        if s.kind == DOUBLE:
            memcpy(&raw, &x, 8)
            return raw
        if s.kind == SINGLE:
            single = <float>x
            memcpy(&half, &single, 4)
            return half
        if -1e15 < x < 1e15:
            return <uint64_t><int64_t>((x + HALF_WAY) - HALF_WAY)
        x = rint(x)
        return <uint64_t><int64_t>x if x < 9.2e18 else <uint64_t>x

    cdef uint64_t _big(self, Group g, int k, value) except? 0xDEAD:
        """Whole numbers that a double may not hold."""
        cdef const signal_t *s = &g.signals[k]
        raw = value
        if s.conversion == INTEGER:
            raw, rest = divmod(value - s.int_offset, s.int_scale)
            if rest:
                raw = round((value - s.int_offset) / s.int_scale)
        cdef object one = 1, bits = s.bits - 1 if s.kind == SIGNED else s.bits
        low = -(one << bits) if s.kind == SIGNED else 0
        high = (one << bits) - 1
        if not (low <= raw <= high and s.lowest <= value <= s.highest):
            self._refuse(g, k, value)
        return <uint64_t>(raw & 0xFFFFFFFFFFFFFFFF)

    cdef Py_ssize_t _fill(self, Group g, dict values, uint8_t *data) except -1:
        """Puts the signals of a group and of those it selects; returns how many of the values were used."""
        cdef Py_ssize_t used = 0
        cdef PyObject *found
        cdef Group chosen
        cdef int k
        for k in range(g.count):
            found = PyDict_GetItemWithError(values, <object>PyTuple_GET_ITEM(g.names, k))
            if found == NULL:
                _insert(&g.signals[k], data, g.signals[k].missing)
            else:
                used += 1
                _insert(&g.signals[k], data, self._raw(g, k, <object>found))
        for place, groups in g.muxes:
            chosen = groups.get(_extract(&g.signals[<int>place], data))
            if chosen is None:
                key = f"{self.name}.{g.names[place]}"
                raise ConfigError(self.file, key, values.get(g.names[place]), "one of " + ", ".join(map(str, sorted(groups))))
            used += self._fill(chosen, values, data)
        return used

    cdef list _known(self, Group g):
        names = list(g.names)
        for _, groups in g.muxes:
            for chosen in groups.values():
                names += [name for name in self._known(chosen) if name not in names]
        return names

    def encode(self, dict values not None):
        """The frame's bytes; see bms.protocols.codec. ConfigError for a name, word or number that cannot be."""
        cdef uint8_t data[ROOM]
        memset(data, 0, ROOM)
        if self._fill(self.root, values, data) != PyDict_Size(values):
            known = self._known(self.root)
            for key in values:
                if key not in known:
                    raise ConfigError(self.file, f"{self.name}.{key}", values[key], "one of " + ", ".join(known))
            # else: a signal of another multiplexer value, which is not sent
        if self.data_id >= 0:
            data[0] = e2e_p01_crc(<uint16_t>self.data_id, data, <uint32_t>self.length)
        return PyBytes_FromStringAndSize(<char *>data, self.length)

    def columns(self, const uint8_t[:, ::1] data, double[:, ::1] out):
        """Physical values of many frames. data: bytes, shape (frames, 64); out: shape (signals in the order of `signal_names`,
        frames), left as it is where a signal is not sent or not available."""
        cdef Py_ssize_t n = data.shape[0], i
        cdef uint8_t room[ROOM]
        if not n or data.shape[1] != 64 or out.shape[1] != n:
            return
        places = {name: k for k, name in enumerate(self._known(self.root))}
        memset(room, 0, ROOM)
        for i in range(n):
            memcpy(room, &data[i, 0], 64)
            self._column(self.root, room, out, i, places)

    cdef int _column(self, Group g, const uint8_t *room, double[:, ::1] out, Py_ssize_t i, dict places) except -1:
        cdef int k
        cdef uint64_t raw
        for k in range(g.count):
            raw = _extract(&g.signals[k], room)
            if not _is_missing(g, k, raw):
                out[<Py_ssize_t>places[g.names[k]], i] = _number(&g.signals[k], raw)
        for place, groups in g.muxes:
            chosen = groups.get(_extract(&g.signals[<int>place], room))
            if chosen is not None:
                self._column(chosen, room, out, i, places)
        return 0

    @property
    def signal_names(self):
        """Names of all signals; those under a multiplexer last."""
        return tuple(self._known(self.root))


cdef inline bint _is_missing(Group g, int k, uint64_t raw):
    cdef const signal_t *s = &g.signals[k]
    return s.word_kind != NO_WORDS and s.kind < SINGLE and _value(g, k, raw) is None


cdef class Table:
    """Messages by identifier (with bit 31 for 29-bit ones) and by name. What is not in it goes to `decode_other` and
    `encode_other` of the class that builds on this one."""

    cdef dict by_key, by_name
    cdef object malformed

    def __init__(self, dict by_key, malformed):
        """malformed(reason) makes what `decode` returns instead of raising."""
        self.by_key = by_key
        self.by_name = {message.name: message for message in by_key.values()}
        self.malformed = malformed

    def decode(self, identifier, data, bint extended=False):
        """Values by name. Never raises, whatever the bytes: too short a frame, and an identifier or a multiplexer value that is
        not in the database, are Malformed; bytes too many are ignored."""
        cdef PyObject *found = PyDict_GetItemWithError(self.by_key, identifier | EXTENDED if extended else identifier)
        if found == NULL:
            return self.decode_other(identifier, data, extended)
        cdef dict values = (<Message><object>found).take(data if type(data) is bytes else bytes(data))
        return self.malformed((<Message><object>found).trouble) if values is None else values

    def encode(self, name, values):
        """Bytes of a frame. What is not given, or None, is the word for that where the signal has one, else 0. A message with
        AUTOSAR E2E profile 1 (attributes E2EProfile, E2EDataId) gets its CRC, over the Counter given. ConfigError for an
        unknown message, signal or word, and for a number outside the range of its signal."""
        cdef PyObject *found = PyDict_GetItemWithError(self.by_name, name)
        if found == NULL:
            return self.encode_other(name, values)
        return (<Message><object>found).encode(values if type(values) is dict else dict(values))


def cmac(bytes key, bytes data):
    """AES-CMAC (RFC 4493) of `data` under a key of 16 bytes: 16 bytes."""
    cdef uint8_t mac[16]
    if len(key) != 16:
        raise ValueError("the key of AES-128 has 16 bytes")
    cmac_aes128(<const uint8_t *>PyBytes_AS_STRING(key), <const uint8_t *>PyBytes_AS_STRING(data), <uint32_t>len(data), mac)
    return PyBytes_FromStringAndSize(<char *>mac, 16)
