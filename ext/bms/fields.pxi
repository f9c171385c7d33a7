# Included by the compiled modules: a C struct described by a field table becomes a dict of NumPy arrays that share its memory.

from libc.stdint cimport uint32_t, uintptr_t

import numpy as np

cdef extern from "field.h":
    ctypedef struct field_t:
        const char *name
        const char *unit
        const char *text
        uint32_t offset
        uint32_t count
        uint32_t type

_FIELD_DTYPES = ("u1", "<u2", "<u4", "<u8", "<i2", "<i4", "<i8", "<f4", "<f8")


cdef list _describe(const field_t *table, size_t count):
    """[(name, unit, text, offset, count, dtype)] of a field table."""
    return [
        (table[k].name.decode(), table[k].unit.decode(), table[k].text.decode(), table[k].offset, table[k].count,
         _FIELD_DTYPES[table[k].type])
        for k in range(count)
    ]


cdef dict _views(buffer, size_t start, const field_t *table, size_t count):
    """Writable arrays over `buffer` (anything with the buffer protocol), one a field, shape (count,)."""
    return {
        name: np.frombuffer(buffer, dtype=dtype, count=n, offset=start + offset)
        for name, _unit, _text, offset, n, dtype in _describe(table, count)
    }
