/* A bounded queue that gives out the frame that would win arbitration, and frames of one identifier in order. Two heaps over one
 * pool of entries (most urgent, least urgent first) and a list by age, so that any of three can be dropped in O(log n). */
#include "bridge/bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/ecu.h"

#define SLOT_FREE UINT32_MAX

int queue_make(queue_t *q, uint32_t capacity)
{
    uint32_t slots = 64u;
    while (slots < 2u * capacity) {
        slots *= 2u;
    }
    memset(q, 0, sizeof *q);
    q->capacity = capacity;
    q->slot_mask = slots - 1u;
    q->oldest = q->newest = BRIDGE_NONE;
    q->entry = calloc(capacity, sizeof *q->entry);
    q->heap[0] = calloc(capacity, sizeof *q->heap[0]);
    q->heap[1] = calloc(capacity, sizeof *q->heap[1]);
    q->spare = calloc(capacity, sizeof *q->spare);
    q->slot_key = calloc(slots, sizeof *q->slot_key);
    q->slot_entry = calloc(slots, sizeof *q->slot_entry);
    if (q->entry == NULL || q->heap[0] == NULL || q->heap[1] == NULL || q->spare == NULL || q->slot_key == NULL ||
        q->slot_entry == NULL) {
        queue_free(q);
        return -ENOMEM;
    }
    for (uint32_t k = 0; k < capacity; k++) {
        q->spare[k] = capacity - 1u - k;
    }
    q->spare_count = capacity;
    memset(q->slot_key, 0xFF, slots * sizeof *q->slot_key);
    return 0;
}

void queue_free(queue_t *q)
{
    free(q->entry);
    free(q->heap[0]);
    free(q->heap[1]);
    free(q->spare);
    free(q->slot_key);
    free(q->slot_entry);
    memset(q, 0, sizeof *q);
}

/* The identifier as it goes over the wire: 11 bits, then RTR/SRR and IDE, then the other 18 and RTR. */
uint32_t queue_key(const link_frame_t *f)
{
    const uint32_t remote = (f->flags & ECU_CAN_REMOTE) != 0u ? 1u : 0u;
    if ((f->flags & ECU_CAN_EXTENDED) == 0u) {
        return (f->id & 0x7FFu) << 21 | remote << 20;
    }
    return (f->id >> 18 & 0x7FFu) << 21 | 3u << 19 | (f->id & 0x3FFFFu) << 1 | remote;
}

/* Whether entry a stands before b: in heap 0 the more urgent, and of one key the older; heap 1 is the reverse, but of one key it gives
 * the newest. */
static bool before(const queue_t *q, uint32_t which, uint32_t a, uint32_t b)
{
    const queue_entry_t *x = &q->entry[a], *y = &q->entry[b];
    const bool first = x->key != y->key ? x->key < y->key : x->order < y->order;
    return which == 0u ? first : !first;
}

static void seat(queue_t *q, uint32_t which, uint32_t place, uint32_t entry)
{
    q->heap[which][place] = entry;
    q->entry[entry].place[which] = place;
}

static void rise(queue_t *q, uint32_t which, uint32_t place)
{
    const uint32_t entry = q->heap[which][place];
    while (place != 0u && before(q, which, entry, q->heap[which][(place - 1u) / 2u])) {
        seat(q, which, place, q->heap[which][(place - 1u) / 2u]);
        place = (place - 1u) / 2u;
    }
    seat(q, which, place, entry);
}

static void sink(queue_t *q, uint32_t which, uint32_t place)
{
    const uint32_t entry = q->heap[which][place];
    for (uint32_t child = 2u * place + 1u; child < q->count; child = 2u * place + 1u) {
        if (child + 1u < q->count && before(q, which, q->heap[which][child + 1u], q->heap[which][child])) {
            child++;
        }
        if (!before(q, which, q->heap[which][child], entry)) {
            break;
        }
        seat(q, which, place, q->heap[which][child]);
        place = child;
    }
    seat(q, which, place, entry);
}

/* The slot of an identifier for latest-value-only; slots stay with theirs. BRIDGE_NONE: there are too many identifiers. */
static uint32_t slot_of(queue_t *q, uint32_t key, bool is_made)
{
    uint32_t at = (key * 2654435761u) >> 7 & q->slot_mask;
    while (q->slot_key[at] != SLOT_FREE && q->slot_key[at] != key) {
        at = (at + 1u) & q->slot_mask;
    }
    if (q->slot_key[at] == key) {
        return at;
    }
    if (!is_made || q->slot_count > q->slot_mask / 2u) {
        return BRIDGE_NONE;
    }
    q->slot_count++;
    q->slot_key[at] = key;
    q->slot_entry[at] = BRIDGE_NONE;
    return at;
}

static void leave(queue_t *q, uint32_t gone)
{
    queue_entry_t *e = &q->entry[gone];
    q->count--;
    for (uint32_t which = 0; which < 2u; which++) {
        const uint32_t place = e->place[which], last = q->heap[which][q->count];
        if (last != gone) {
            seat(q, which, place, last);
            rise(q, which, place);
            sink(q, which, q->entry[last].place[which]);
        }
    }
    *(e->older != BRIDGE_NONE ? &q->entry[e->older].newer : &q->oldest) = e->newer;
    *(e->newer != BRIDGE_NONE ? &q->entry[e->newer].older : &q->newest) = e->older;
    q->spare[q->spare_count++] = gone;
    const uint32_t slot = q->slot_count != 0u ? slot_of(q, e->key, false) : BRIDGE_NONE;
    if (slot != BRIDGE_NONE && q->slot_entry[slot] == gone) {
        q->slot_entry[slot] = BRIDGE_NONE;
    }
}

static void copy(link_frame_t *to, const link_frame_t *f)
{
    memcpy(to, f, f->length <= 8u ? offsetof(link_frame_t, data) + 8u : sizeof *f);
}

static bool make_room(queue_t *q, uint32_t key, queue_policy_t policy)
{
    if (policy == QUEUE_OLDEST) {
        leave(q, q->oldest);
        return true;
    }
    if (policy == QUEUE_URGENT && q->entry[q->heap[1][0]].key > key) {
        leave(q, q->heap[1][0]);
        return true;
    }
    return false;
}

bool queue_put(queue_t *q, const link_frame_t *f, uint64_t in_us, queue_policy_t policy, bool is_latest, uint64_t *lost,
               uint64_t *replaced)
{
    const bool is_value = is_latest && (f->flags & ECU_CAN_REMOTE) == 0u;
    const uint32_t key = queue_key(f), slot = is_value ? slot_of(q, key, true) : BRIDGE_NONE;
    if (slot != BRIDGE_NONE && q->slot_entry[slot] != BRIDGE_NONE) {
        copy(&q->entry[q->slot_entry[slot]].frame, f);
        q->entry[q->slot_entry[slot]].in_us = in_us;
        ++*replaced;
        return true;
    }
    if (q->count == q->capacity) {
        if (!make_room(q, key, policy)) {
            return false;
        }
        ++*lost;
    }
    const uint32_t fresh = q->spare[--q->spare_count];
    queue_entry_t *e = &q->entry[fresh];
    copy(&e->frame, f);
    e->in_us = in_us;
    e->key = key;
    e->order = q->order++;
    e->older = q->newest;
    e->newer = BRIDGE_NONE;
    *(q->newest != BRIDGE_NONE ? &q->entry[q->newest].newer : &q->oldest) = fresh;
    q->newest = fresh;
    q->count++;
    for (uint32_t which = 0; which < 2u; which++) {
        seat(q, which, q->count - 1u, fresh);
        rise(q, which, q->count - 1u);
    }
    if (slot != BRIDGE_NONE) {
        q->slot_entry[slot] = fresh;
    }
    return true;
}

bool queue_take(queue_t *q, link_frame_t *f, uint64_t *in_us)
{
    if (q->count == 0u) {
        return false;
    }
    const uint32_t first = q->heap[0][0];
    copy(f, &q->entry[first].frame);
    *in_us = q->entry[first].in_us;
    leave(q, first);
    return true;
}
