#include "replay/replay.h"

#include <string.h>

static uint64_t read_64(const uint8_t *from)
{
    uint64_t value = 0;
    for (uint32_t k = 8; k > 0u; --k) value = value << 8 | from[k - 1u];
    return value;
}

void replay_start(replay_t *r, uint64_t sample_us)
{
    r->number = r->steps = r->boots = r->differences = r->gaps = 0;
    r->first_us = r->first_difference_us = r->first_difference_number = r->next_sample_us = 0;
    r->knows_number = r->refused = r->is_started = 0;
    r->sample_us = sample_us;
    memset(&r->in_base, 0, sizeof r->in_base);
    memset(&r->expected_base, 0, sizeof r->expected_base);
    memset(&r->out_base, 0, sizeof r->out_base);
    for (uint32_t side = 0; side < REPLAY_SIDES; ++side) {
        r->event_count[side] = 0;
        memset(&r->vehicle[side], 0, sizeof r->vehicle[side]);
        vehicle_init(&r->vehicle[side]);
    }
}

static uint32_t feed_key(replay_t *r, const uint8_t *bytes, size_t size, size_t *used)
{
    if (size < STEPS_KEY_BYTES) return REPLAY_MALFORMED;
    const uint64_t number = read_64(&bytes[1]);
    const bool is_gap = r->knows_number != 0u && number != r->number;
    memset(&r->expected_base, 0, sizeof r->expected_base);
    memset(&r->out_base, 0, sizeof r->out_base);
    memset(&r->in_base, 0, sizeof r->in_base);
    r->in_base.now_us = read_64(&bytes[9]);
    r->number = number;
    r->knows_number = 1u;
    *used = STEPS_KEY_BYTES;
    if (is_gap) r->gaps++;
    return is_gap ? REPLAY_GAP : REPLAY_DONE;
}

static uint32_t feed_boot(replay_t *r, const uint8_t *bytes, size_t size, size_t *used)
{
    if (size < STEPS_BOOT_BYTES) return REPLAY_MALFORMED;
    ecu_boot_t boot;
    memset(&boot, 0, sizeof boot);
    boot.now_us = read_64(&bytes[1]);
    boot.reset_cause = bytes[9];
    memcpy(boot.entropy, &bytes[10], sizeof boot.entropy);
    boot.config = r->config;
    boot.config_size = r->config_size;
    r->boots++;
    r->refused = (uint32_t)r->api->init(r->firmware, &boot);
    *used = STEPS_BOOT_BYTES;
    return r->refused ? REPLAY_REFUSED : REPLAY_DONE;
}

/* Counts beyond their arrays come from a foreign firmware gone wrong; the recording has them cut as well. */
static void bound(ecu_out_t *out)
{
    if (out->can_count > ECU_CAN_OUT_MAX) out->can_count = ECU_CAN_OUT_MAX;
    for (uint32_t k = 0; k < ECU_UART_COUNT; ++k) {
        if (out->uart[k].count > ECU_UART_OUT_MAX) out->uart[k].count = ECU_UART_OUT_MAX;
    }
    for (uint32_t k = 0; k < out->can_count; ++k) {
        if (out->can[k].length > sizeof out->can[k].data) out->can[k].length = sizeof out->can[k].data;
        if (out->can[k].bus >= ECU_CAN_BUS_COUNT) out->can[k].bus = 0;
    }
}

static void hear(replay_t *r, uint32_t side, const ecu_out_t *out)
{
    for (uint32_t k = 0; k < out->can_count; ++k) {
        vehicle_event_t event;
        if (out->can[k].bus != ECU_BUS_VEHICLE || !vehicle_receive(&r->vehicle[side], r->in.now_us, &out->can[k], &event)) continue;
        if (r->event_count[side] >= REPLAY_EVENTS_MAX) continue; /* a sample was due long before */
        const replay_event_t heard = {r->in.now_us, event};
        r->event[side][r->event_count[side]++] = heard;
    }
}

static bool sample_is_due(replay_t *r)
{
    if (r->sample_us == 0u) return false;
    hear(r, REPLAY_RECORDED, &r->expected);
    hear(r, REPLAY_NEW, &r->out);
    const uint32_t most = REPLAY_EVENTS_MAX - ECU_CAN_OUT_MAX;
    if (r->event_count[0] > most || r->event_count[1] > most) return true;
    if (r->in.now_us < r->next_sample_us) return false;
    r->next_sample_us = r->in.now_us + r->sample_us;
    return true;
}

static uint32_t feed_step(replay_t *r, const uint8_t *bytes, size_t size, size_t *used)
{
    if (size < 3u) return REPLAY_MALFORMED;
    const size_t room = size - 3u;
    const uint32_t limit = room > STEPS_RECORD_MAX ? STEPS_RECORD_MAX : (uint32_t)room;
    const int32_t given = steps_get_in(&r->in_base, bytes[1], &bytes[3], limit, &r->in);
    if (given < 0) return REPLAY_MALFORMED;
    const uint8_t *const recorded = &bytes[3 + given];
    const int32_t answered = steps_get_out(&r->expected_base, bytes[2], recorded, limit - (uint32_t)given, &r->expected);
    if (answered < 0) return REPLAY_MALFORMED;
    *used = 3u + (size_t)given + (size_t)answered;
    if (!r->is_started) {
        r->is_started = 1u;
        r->first_us = r->in.now_us;
    }
    memset(&r->out, 0, sizeof r->out);
    r->api->step(r->firmware, &r->in, &r->out);
    bound(&r->out);
    uint8_t mask, mine[STEPS_OUT_MAX];
    const uint32_t written = steps_put_out(&r->out_base, &r->out, &mask, mine);
    const bool is_equal = mask == bytes[2] && written == (uint32_t)answered && memcmp(mine, recorded, written) == 0;
    r->steps++;
    r->number++;
    const bool is_due = sample_is_due(r);
    if (!is_equal && r->differences++ == 0u) {
        r->first_difference_us = r->in.now_us;
        r->first_difference_number = r->number - 1u;
    }
    if (!is_equal && r->stops_at_differences) return REPLAY_DIFFERS;
    return is_due ? REPLAY_SAMPLE : REPLAY_DONE;
}

static uint32_t feed(replay_t *r, const uint8_t *bytes, size_t size, size_t *used)
{
    *used = 0;
    while (*used < size) {
        const uint8_t *const at = bytes + *used;
        size_t taken = 0;
        uint32_t why = REPLAY_MALFORMED;
        if (at[0] == STEPS_STEP) why = feed_step(r, at, size - *used, &taken);
        else if (at[0] == STEPS_KEY) why = feed_key(r, at, size - *used, &taken);
        else if (at[0] == STEPS_BOOT) why = feed_boot(r, at, size - *used, &taken);
        *used += taken;
        if (why != REPLAY_DONE) return why;
    }
    return REPLAY_DONE;
}

/* Rounding to nearest, denormals kept, as in the loop that made the recording. */
uint32_t replay_feed(replay_t *r, const uint8_t *bytes, size_t size, size_t *used)
{
#if defined(__SSE__)
    const uint32_t kept = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1F80u);
    const uint32_t why = feed(r, bytes, size, used);
    __builtin_ia32_ldmxcsr(kept);
    return why;
#else
    return feed(r, bytes, size, used);
#endif
}
