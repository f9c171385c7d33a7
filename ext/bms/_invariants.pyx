# distutils: sources = ext/invariants/invariants.c ext/invariants/truth.c ext/invariants/wire.c ext/invariants/calls.c ext/invariants/told.c ext/firmware/generated/bms_dbc.c
"""The oracle over the truth as compiled code: see ext/invariants/invariants.h. `bms.invariants` fills its limits in and reads it."""

include "fields.pxi"

from libc.stdint cimport uint8_t
from libc.string cimport memset

cdef extern from "invariants/invariants.h":
    ctypedef struct world_t:
        pass
    ctypedef struct watch_rules_t:
        pass
    const field_t watch_rules_fields[]
    const size_t watch_rules_field_count
    const char *const watch_rule_names[]
    const int RULES
    void watch_rules_init(watch_rules_t *)
    void watch_rules_step(void *, const world_t *)


def names():
    """Ids of the rules, in the order of their bits."""
    return tuple(watch_rule_names[k].decode() for k in range(RULES))


def describe():
    """[(name, unit, text, offset, count, dtype)] of every field."""
    return _describe(watch_rules_fields, watch_rules_field_count)


cdef class Rules:
    """State of one oracle. `fields[name]` is a writable array over it."""

    cdef watch_rules_t _state
    cdef public dict fields

    def __init__(self):
        memset(&self._state, 0, sizeof(self._state))
        watch_rules_init(&self._state)
        room = <uint8_t[:sizeof(watch_rules_t)]><uint8_t *>&self._state
        self.fields = _views(np.asarray(room), 0, watch_rules_fields, watch_rules_field_count)

    def handles(self):
        """(address of the function, of its state); they live as long as this does."""
        return <uintptr_t>&watch_rules_step, <uintptr_t>&self._state

    def snapshot(self):
        """All of it as bytes."""
        return bytes(<uint8_t[:sizeof(watch_rules_t)]><uint8_t *>&self._state)
