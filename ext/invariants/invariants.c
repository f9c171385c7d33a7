#include "invariants/internal.h"

#define FIELD_OWNER watch_rules_t
FIELD_TABLE(watch_rules_fields, WATCH_FIELDS);
#undef FIELD_OWNER
const size_t watch_rules_field_count = FIELD_COUNT(watch_rules_fields);

#define WATCH_RULE_NAME(id) #id,
const char *const watch_rule_names[] = {WATCH_RULES(WATCH_RULE_NAME) 0};

#define MUTE_MS 100u        /* state frames come each 10 ms */
#define START_MS 50u        /* of an ECU that was reset */
#define REMEMBERED_MS 500u  /* a trip reported for so long is in non-volatile memory */

void rule_broken(watch_rules_t *s, const world_t *w, uint32_t rule, double value, int32_t place)
{
    if (bit_of(s->masked, rule)) return;
    if (s->count[rule]++ != 0u) return;
    s->first_us[rule] = w->loop.elapsed_us;
    s->value[rule] = value;
    s->place[rule] = place;
}

void rule_held(watch_rules_t *s, const world_t *w, uint32_t rule, uint32_t slot, bool bad, uint32_t by_ms, uint32_t limit_ms, double value,
               int32_t place)
{
    const uint32_t was_ms = s->held_ms[slot];
    if (!bad || bit_of(s->masked, rule)) {
        s->held_ms[slot] = 0u;
        return;
    }
    s->held_ms[slot] = older(was_ms, by_ms);
    if (was_ms <= limit_ms && s->held_ms[slot] > limit_ms) rule_broken(s, w, rule, value, place);
}

void watch_rules_init(watch_rules_t *s)
{
    s->state = 255u;
    s->soc_frac = -1.0;
    s->reset_age_ms = s->bleed_age_ms = 100000000u;
    s->asked_age_ms = s->insulation_age_ms = s->wish_age_ms = s->heard_age_ms = 100000000u;
    s->warm_age_ms = s->lowest_age_ms = s->unfelt_age_ms = 100000000u;
    s->request_counter = 255u; /* none yet */
    s->lowest_kpa = s->coldest_degc = 1e9;
    s->highest_kpa = s->hottest_degc = -1e9;
}

/* A reset: what the ECU said is void, what the world knows is not. */
static void look_for_reset(watch_rules_t *s, const world_t *w)
{
    if (w->loop.resets != s->resets) {
        s->resets = w->loop.resets;
        s->reset_age_ms = 0u;
        s->state_fresh = s->limit_seen = 0u;
        s->insulation_age_ms = 100000000u;
        if (s->tripped == 1u) s->tripped = 0u; /* too young to be remembered */
        memset(s->held_ms, 0, sizeof s->held_ms);
    }
    s->reset_age_ms = older(s->reset_age_ms, 1u);
    const bool still_closed = s->reset_age_ms == 100u && path_is_closed(&w->plant);
    if (still_closed) rule_broken(s, w, RULE_S15, (double)w->plant.contactor_closed, -1);
}

static void look_for_silence(watch_rules_t *s, const world_t *w)
{
    const bool runs = w->loop.booting_ms == 0u && s->reset_age_ms > START_MS && w->loop.sleep_until_us <= w->loop.elapsed_us;
    const bool mute = runs && w->loop.elapsed_us > 1000u * START_MS && s->state_age_ms > 20u;
    rule_held(s, w, RULE_L2, HELD_MUTE, mute, 1u, MUTE_MS, (double)s->state_age_ms, -1);
}

static void account(watch_rules_t *s)
{
    s->checked_ms++;
    if (s->faults_active != 0u) s->fault_ms++;
    if (s->state < WATCH_STATES) s->state_ms[s->state]++;
    if (s->masked != 0u) {
        for (uint32_t rule = 0; rule < RULES; ++rule) {
            s->masked_ms[rule] += (s->masked & ~s->recovering) >> rule & 1u;
            s->recovering_ms[rule] += (s->masked & s->recovering) >> rule & 1u;
        }
    }
    s->calm_ms = s->calm_now != 0u && s->faults_active == 0u ? older(s->calm_ms, 1u) : 0u;
    if (s->tripped == 1u && s->trip_told_ms > REMEMBERED_MS) s->tripped = 2u;
}

void watch_rules_step(void *state, const world_t *w)
{
    watch_rules_t *const s = state;
    look_for_reset(s, w);
    watch_frames(s, w);
    watch_pins(s, w); /* before the currents: what opens a path is judged by what flowed before */
    watch_calls(s, w);
    watch_truth_fast(s, w);
    if (w->loop.steps % 10u == 0u) {
        watch_truth_tick(s, w);
        watch_spans(s, w);
    }
    if (w->loop.steps % 100u == 50u) {
        watch_truth_slow(s, w);
        watch_told(s, w);
    }
    look_for_silence(s, w);
    account(s);
    s->pins = w->out.pins.digital & COILS;
    s->closed = w->plant.contactor_closed;
    s->gap_v = w->plant.pack_voltage_v - w->plant.link_voltage_v;
}
