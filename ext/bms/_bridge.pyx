# distutils: sources = ext/bridge/bridge.c ext/bridge/rules.c ext/bridge/queue.c ext/canbus/canbus.c ext/canbus/length.c ext/canbus/confine.c ext/canbus/trouble.c
"""The loop of the bridge (ext/bridge/bridge.h). Use bms.bridge, which makes it of a configuration.

`run` works without the GIL on links that were lent to it. Links and rules are changed while it stands; counters may be read at
any time.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import os

from bms import _links

include "fields.pxi"

cdef extern from "links/link.h" nogil:
    ctypedef struct link_t:
        pass
    ctypedef struct link_api_t:
        pass
    ctypedef struct link_frame_t:
        uint64_t time_us

cdef extern from "bridge/bridge.h" nogil:
    enum:
        BRIDGE_LINKS
        BRIDGE_RULES
        BRIDGE_FIELDS
        BRIDGE_BINS
        BRIDGE_HOPS
        RULE_CONTINUE
        RULE_PASS
        RULE_DROP
        RULE_REMAP
        RULE_BYTES
        RULE_SET
        RULE_E2E
        RULE_LIMIT
        RULE_LATEST
        RULE_IMPAIR
        QUEUE_NEWEST
        QUEUE_OLDEST
        QUEUE_URGENT
        QUEUE_WAIT

    ctypedef struct bridge_range_t:
        uint32_t first, last

    ctypedef struct bridge_field_t:
        int64_t least, most
        uint16_t start, length
        uint8_t is_big, is_signed

    ctypedef struct bridge_impair_t:
        uint64_t key, loss, duplicate, reorder, corrupt, delay_us, jitter_us, reorder_us, cut_every_us, cut_for_us

    ctypedef struct bridge_link_counters_t:
        uint64_t received
        uint64_t dropped_full

    ctypedef struct bridge_rule_counters_t:
        uint64_t matched

    ctypedef struct bridge_rule_t:
        uint32_t from_mask, to_mask, range_first, range_count, id_mask, id_value
        uint8_t flags_mask, flags_value, length_least, length_most, verdict, does, test_count, set_count
        bridge_field_t test[4]
        bridge_field_t set[4]
        uint32_t remap_mask, remap_value
        uint8_t byte_mask[64]
        uint8_t byte_value[64]
        uint16_t e2e_data_id
        double rate_per_us, burst
        bridge_impair_t impair

    ctypedef struct bridge_rule_state_t:
        bridge_rule_counters_t count

    ctypedef struct queue_t:
        uint32_t count, capacity

    ctypedef enum queue_policy_t:
        pass

    ctypedef struct bridge_link_t:
        link_t *link
        queue_t queue
        bridge_link_counters_t count
        uint32_t zone, policy, bit_ns, data_bit_ns
        uint8_t is_paced, is_real, has_hops

    ctypedef struct delayed_t:
        link_frame_t frame
        uint64_t due_us
        uint32_t to
        bint is_latest

    ctypedef struct bridge_t:
        const link_api_t *api
        bridge_link_t *link
        uint32_t link_count, rule_count, range_count, guard_count
        bridge_rule_t *rule
        bridge_rule_state_t *state
        bridge_range_t *range
        bridge_range_t *guard
        delayed_t *delayed
        uint32_t delayed_count
        uint64_t armed_until_us, alive_us, cycles, started_us
        uint32_t announce_id
        bint was_armed
        int wake_fd
        int stopping, draining

    int bridge_make(bridge_t *b)
    void bridge_free(bridge_t *b)
    void bridge_set_routes(bridge_t *b)
    void bridge_state_init(const bridge_rule_t *r, bridge_rule_state_t *s, uint64_t now_us)
    uint32_t bridge_cycle(bridge_t *b, uint64_t now_us)
    void bridge_run(bridge_t *b)
    bint bridge_is_empty(const bridge_t *b)
    bint bridge_delay(bridge_t *b, uint32_t to, const link_frame_t *f, uint64_t due_us, bint is_latest)
    int queue_make(queue_t *q, uint32_t capacity)
    bint queue_put(queue_t *q, const link_frame_t *f, uint64_t in_us, queue_policy_t policy, bint is_latest, uint64_t *lost,
                   uint64_t *replaced)
    bint queue_take(queue_t *q, link_frame_t *f, uint64_t *in_us)
    int64_t bridge_field_get(const bridge_field_t *s, const uint8_t *data)
    void bridge_field_set(const bridge_field_t *s, uint8_t *data)
    const field_t *bridge_link_fields(size_t *count)
    const field_t *bridge_rule_fields(size_t *count)

LINKS, RULES, FIELDS, BINS, HOPS = BRIDGE_LINKS, BRIDGE_RULES, BRIDGE_FIELDS, BRIDGE_BINS, BRIDGE_HOPS
POLICIES = {"newest": QUEUE_NEWEST, "oldest": QUEUE_OLDEST, "urgent": QUEUE_URGENT, "wait": QUEUE_WAIT}
VERDICTS = {"continue": RULE_CONTINUE, "pass": RULE_PASS, "drop": RULE_DROP}
REMAP, BYTES, SET, E2E = RULE_REMAP, RULE_BYTES, RULE_SET, RULE_E2E
LIMIT, LATEST, IMPAIR = RULE_LIMIT, RULE_LATEST, RULE_IMPAIR


cdef bridge_field_t _field(spec):
    cdef bridge_field_t field
    field.start, field.length, field.is_big, field.is_signed, field.least, field.most = spec
    return field


def field_get(tuple spec, bytes data):
    """A signal (start, length, is_big, is_signed, least, most) of 64 bytes, raw."""
    cdef bridge_field_t field = _field(spec)
    raw = bytes(data).ljust(64, b"\0")
    return bridge_field_get(&field, <const uint8_t *><const char *>raw)


def field_set(tuple spec, bytes data):
    """The same 64 bytes with the signal at its `least`."""
    cdef bridge_field_t field = _field(spec)
    raw = bytearray(bytes(data).ljust(64, b"\0"))
    bridge_field_set(&field, <uint8_t *><char *>raw)
    return bytes(raw)


cdef dict _counts(const field_t *table, size_t count, const void *counters):
    cdef size_t k
    cdef const uint64_t *value
    found = {}
    for k in range(count):
        value = <const uint64_t *>(<const char *>counters + table[k].offset)
        found[table[k].name.decode()] = value[0] if table[k].count == 1 else [value[i] for i in range(table[k].count)]
    return found


def describe():
    """Names, units and meanings of the counters: of a link, of a rule."""
    cdef size_t n, m
    cdef const field_t *of_link = bridge_link_fields(&n)
    cdef const field_t *of_rule = bridge_rule_fields(&m)
    return [row[:3] for row in _describe(of_link, n)], [row[:3] for row in _describe(of_rule, m)]


cdef class Core:
    """One bridge: links and rules by number. The links are lent to it until `close`."""

    cdef bridge_t *b
    cdef readonly list links
    cdef bint running

    def __cinit__(self):
        self.b = <bridge_t *>calloc(1, sizeof(bridge_t))
        if self.b == NULL or bridge_make(self.b) != 0:
            raise MemoryError
        self.b.api = <const link_api_t *><uintptr_t>_links.api_address()
        self.b.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.links = []

    def __dealloc__(self):
        if self.b != NULL:
            os.close(self.b.wake_fd)
            bridge_free(self.b)
            free(self.b)

    cdef int _stands(self) except -1:
        if self.running:
            raise RuntimeError("the loop runs")
        return 0

    def add_link(self, link, *, int zone, int policy, uint32_t capacity, uint32_t bit_ns=0, uint32_t data_bit_ns=0,
                 bint paced=False, bint real=True, bint hops=False):
        """Its number. What is lent must be given back with `close` before the link is closed."""
        self._stands()
        cdef bridge_link_t *l = &self.b.link[self.b.link_count]
        if self.b.link_count >= BRIDGE_LINKS:
            raise ValueError("too many links")
        if queue_make(&l.queue, capacity) != 0:
            raise MemoryError
        l.link = <link_t *><uintptr_t>link.lend()
        l.zone, l.policy, l.bit_ns, l.data_bit_ns = zone, policy, bit_ns, data_bit_ns
        l.is_paced, l.is_real, l.has_hops = paced and bit_ns, real, hops
        self.links.append(link)
        self.b.link_count += 1
        return self.b.link_count - 1

    def set_rules(self, list rules, list guard):
        """Rules as bms.bridge.compile makes them, and ranges (first, last) of guarded identifiers."""
        cdef bridge_rule_t *r
        cdef uint32_t at = 0
        self._stands()
        ranges = [pair for rule in rules for pair in rule["ranges"]]
        free(self.b.rule)
        free(self.b.state)
        free(self.b.range)
        free(self.b.guard)
        self.b.rule_count = self.b.guard_count = 0
        self.b.rule = <bridge_rule_t *>calloc(len(rules) + 1, sizeof(bridge_rule_t))
        self.b.state = <bridge_rule_state_t *>calloc(len(rules) + 1, sizeof(bridge_rule_state_t))
        self.b.range = <bridge_range_t *>calloc(len(ranges) + 1, sizeof(bridge_range_t))
        self.b.guard = <bridge_range_t *>calloc(len(guard) + 1, sizeof(bridge_range_t))
        if self.b.rule == NULL or self.b.state == NULL or self.b.range == NULL or self.b.guard == NULL:
            raise MemoryError
        for k, (first, last) in enumerate(ranges):
            self.b.range[k].first, self.b.range[k].last = first, last
        for k, (first, last) in enumerate(guard):
            self.b.guard[k].first, self.b.guard[k].last = first, last
        for k, rule in enumerate(rules):
            r = &self.b.rule[k]
            r.from_mask, r.to_mask = rule["from_mask"], rule["to_mask"]
            r.range_first, r.range_count = at, len(rule["ranges"])
            at += r.range_count
            r.id_mask, r.id_value = rule["id_mask"], rule["id_value"]
            r.flags_mask, r.flags_value = rule["flags_mask"], rule["flags_value"]
            r.length_least, r.length_most = rule["length"]
            r.verdict, r.does = rule["verdict"], rule["does"]
            r.test_count, r.set_count = len(rule["test"]), len(rule["set"])
            for n, spec in enumerate(rule["test"]):
                r.test[n] = _field(spec)
            for n, spec in enumerate(rule["set"]):
                r.set[n] = _field(spec)
            r.remap_mask, r.remap_value = rule["remap"]
            for place, value, mask in rule["bytes"]:
                r.byte_value[place], r.byte_mask[place] = value, mask
            r.e2e_data_id = rule["e2e_data_id"]
            r.rate_per_us, r.burst = 1e-6 * rule["rate_per_s"], rule["burst"]
            for name, value in rule["impair"].items():
                self._impair(&r.impair, name, value)
            bridge_state_init(r, &self.b.state[k], _links.now_us())
        self.b.range_count, self.b.guard_count, self.b.rule_count = len(ranges), len(guard), len(rules)
        bridge_set_routes(self.b)

    cdef int _impair(self, bridge_impair_t *m, str name, uint64_t value) except -1:
        if name == "key": m.key = value
        elif name == "loss": m.loss = value
        elif name == "duplicate": m.duplicate = value
        elif name == "reorder": m.reorder = value
        elif name == "corrupt": m.corrupt = value
        elif name == "delay_us": m.delay_us = value
        elif name == "jitter_us": m.jitter_us = value
        elif name == "reorder_us": m.reorder_us = value
        elif name == "cut_every_us": m.cut_every_us = value
        elif name == "cut_for_us": m.cut_for_us = value
        else: raise ValueError(name)
        return 0

    def adopt(self, Core old, dict links, dict rules):
        """Counters, waiting frames and arming of a bridge that stands, before its links are lent again: numbers there to numbers
        here. Frames for links that are gone are lost with them."""
        cdef link_frame_t f
        cdef uint64_t in_us, lost
        cdef bridge_link_t *to
        cdef uint32_t k
        self._stands()
        old._stands()
        for there, here in links.items():
            to = &self.b.link[<uint32_t>here]
            memcpy(&to.count, &old.b.link[<uint32_t>there].count, sizeof(bridge_link_counters_t))
            while queue_take(&old.b.link[<uint32_t>there].queue, &f, &in_us):
                lost = 0
                if not queue_put(&to.queue, &f, in_us, <queue_policy_t>to.policy, False, &lost, &lost):
                    lost += 1
                to.count.dropped_full += lost
        for there, here in rules.items():
            memcpy(&self.b.state[<uint32_t>here].count, &old.b.state[<uint32_t>there].count, sizeof(bridge_rule_counters_t))
        for k in range(old.b.delayed_count):
            if old.b.delayed[k].to in links:
                bridge_delay(self.b, links[old.b.delayed[k].to], &old.b.delayed[k].frame, old.b.delayed[k].due_us,
                             old.b.delayed[k].is_latest)
        old.b.delayed_count = 0
        self.b.armed_until_us, self.b.started_us, self.b.was_armed = old.b.armed_until_us, old.b.started_us, old.b.was_armed

    def run(self):
        """Until `stop`, or after `drain` until nothing waits."""
        self._stands()
        self.running = True
        try:
            with nogil:
                bridge_run(self.b)
        finally:
            self.running = False

    def cycle(self, now_us=None):
        """One pass; the frames it moved."""
        self._stands()
        return bridge_cycle(self.b, _links.now_us() if now_us is None else now_us)

    def stop(self):
        """Ends `run` soon."""
        self.b.stopping = 1
        os.eventfd_write(self.b.wake_fd, 1)

    def drain(self):
        """Nothing is taken in any more; `run` ends when all that waits is sent."""
        self.b.draining = 1
        os.eventfd_write(self.b.wake_fd, 1)

    def resume(self):
        """After `stop` or `drain`: `run` may be called again."""
        self._stands()
        self.b.stopping = self.b.draining = 0

    def close(self):
        """Gives the links back."""
        self._stands()
        for link in self.links:
            link.take_back()

    def arm(self, double seconds):
        """Guarded identifiers may pass for so long; 0 ends it."""
        self.b.armed_until_us = _links.now_us() + <uint64_t>(1e6 * seconds) if seconds > 0 else 0
        os.eventfd_write(self.b.wake_fd, 1)

    def announce(self, uint32_t identifier):
        """Tell all links under this identifier while armed; 0: nothing is said. Long ones with EXTENDED of bms.protocols.codec."""
        self._stands()
        self.b.announce_id = identifier

    @property
    def armed_s(self):
        """Seconds for which guarded identifiers may still pass."""
        now_us = _links.now_us()
        return 1e-6 * (self.b.armed_until_us - now_us) if self.b.armed_until_us > now_us else 0.0

    @property
    def alive_us(self):
        """When the loop last began a pass, CLOCK_MONOTONIC."""
        return self.b.alive_us

    @property
    def started_us(self):
        """When it was made."""
        return self.b.started_us

    @property
    def delayed(self):
        """Frames in the delay line."""
        return self.b.delayed_count

    def waiting(self, uint32_t link):
        """Frames in the queue of a link."""
        return self.b.link[link].queue.count if link < self.b.link_count else 0

    def link_counts(self, uint32_t link):
        """Counters of a link by name; latency is a list of bins."""
        cdef size_t count
        cdef const field_t *table = bridge_link_fields(&count)
        if link >= self.b.link_count:
            raise IndexError(link)
        return _counts(table, count, &self.b.link[link].count)

    def rule_counts(self, uint32_t rule):
        """Counters of a rule by name."""
        cdef size_t count
        cdef const field_t *table = bridge_rule_fields(&count)
        if rule >= self.b.rule_count:
            raise IndexError(rule)
        return _counts(table, count, &self.b.state[rule].count)
