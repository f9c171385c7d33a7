/* The battery management firmware: what it does, how it is laid out, what it can be told. Read this first, then bms.c.
 *
 * Every millisecond the rig calls ecu_step. Bytes and frames that arrived are taken at once; everything else has its place in a
 * 100 ms schedule (bms.c), so that no step is heavy. Data flows one way:
 *
 *     afe.c, sensor.c    bytes of the monitor chips, frames of current sensor and insulation monitor
 *       -> measure.c     readings in integers with units, each fresh, or unknown
 *       -> charge.c      microcoulombs;  estimator.c  state of charge and its interval, joined by stack pressure (witness.c)
 *       -> leak.c        blocks that lose charge
 *       -> watch.c       temperatures inside (observer.c), resistance and capacity (health.c), power for seconds (power.c)
 *       -> protect.c     diagnoses (generated/diagnoses.h) with debounce, deadline, latch; plausible.c  readings against each
 *                        other; selfcheck.c  sense wires and balancing switches
 *       -> limits.c      what may be charged and discharged now
 *       -> contactor.c   state machine, coils;  thermal.c  heater and pump;  balance.c  bleeding
 *       -> canout.c      all of it told, with end-to-end protection;  canin.c  what the vehicle asks;  request.c  whether it may
 *       -> store.c       what outlives a reset (journal.c);  uds.c  what a workshop asks (isotp.c)
 *
 * State machine (contactor.c), state names as on the bus:
 *
 *     init -> selftest -> standby -> precharge -> normal_drive <-> normal_charge -> opening -> standby
 *                            ^                          | any trip: coils off at once
 *     (clear request)        +--- latched <--- error <--+  error: cause present; latched: cause gone, waits for a clear request
 *     standby <-> balancing at rest;  standby <-> service: each contactor alone;  standby, latched -> sleep -> selftest
 *     asserted: an internal check failed;  refused: the configuration is wrong.  Both keep every output at zero until reset.
 *     derated is a flag of BmsState beside the state: limits are below what the cells allow.
 *
 * Rules that hold everywhere
 *   - Unknown is not OK. A reading that is missing, late or implausible is unknown, and an unknown reading can trip; it is never
 *     replaced by an average or by an old one. Debounce counts fresh readings; time without a good one is bounded as well.
 *   - Contactor feedback is a reading of the auxiliary contact, never an echo of the command.
 *   - Coils are zero unless the state machine says otherwise in this very millisecond.
 *   - Advertised limits are the minimum of all sources; they fall at once and rise slowly.
 *   - One flat struct without pointers holds all state; two firmwares can live in one process.
 */
#ifndef BMS_BMS_H
#define BMS_BMS_H

#ifndef BMS_CELLS_MAX
#define BMS_CELLS_MAX 400 /* blocks in series; a microcontroller build sets its own */
#endif

#include "balance.h"
#include "contactor.h"
#include "diagnoses.h"
#include "ecu.h"
#include "estimator.h"
#include "field.h"
#include "pins.h"
#include "request.h"
#include "sleep.h"
#include "store.h"
#include "uds.h"
#include "watch.h"
#include "witness.h"

#define BMS_VERSION_MAJOR 0
#define BMS_VERSION_MINOR 1
#define BMS_VERSION_PATCH 0
#define BMS_VERSION_TEXT "solid-bms firmware 0.1.0"

#define BMS_MODULES_MAX 32u
#define BMS_CHANNELS_MAX 16u   /* cell channels of one chip */
#define BMS_THERMISTORS_MAX 6u /* of one chip: GPIO1 to GPIO6; stack pressure on GPIO7 */
#define BMS_SENSORS_MAX (BMS_MODULES_MAX * BMS_THERMISTORS_MAX)
#define BMS_NTC_STEPS 128
#define BMS_MESSAGES_MAX 32u   /* rows of the message schedule: bits of a word */
#define BMS_UNKNOWN INT32_MIN /* a min, max or sum of which nothing is known */

#define BMS_CONFIG_MAGIC 0x42534F4Cu
#define BMS_CONFIG_VERSION 4u

enum { LIMIT_OPERATE = 0, LIMIT_WARN = 1, LIMIT_TRIP = 2, LIMITS = 3 }; /* places in a triplet; TIER_... are one higher */

#include "config.h"
#include "plausible.h"
#include "readings.h"

/* ---- state of each part -------------------------------------------------------------------------------------------------- */

/* One diagnosis. A sample says which tier it crosses; bad[t] counts samples in a row at tier t or above. */
typedef struct {
    uint64_t bad_us[4];       /* when such a row began, by tier */
    uint64_t good_us;         /* since when the cause is gone */
    int32_t value, place;     /* of the sample that decided */
    uint16_t bad[4];
    uint8_t tier, sampled;    /* concluded; of the last sample */
    uint8_t latched, gone;    /* gone: the cause has been gone long enough to clear */
    uint8_t told_tier, told_latched; /* as last told by BmsEvent */
    uint8_t reserved[2];
} diagnosis_t;

typedef struct {
    diagnosis_t diag[DIAG_COUNT];
    uint64_t active_bits[DIAG_PAGES]; /* active or latched; bit k of word w: diagnosis w * DIAG_PER_PAGE + k, as in BmsDiagnosis */
    uint64_t busy_bits[DIAG_PAGES];   /* a count runs or a tier is held: the tick must look at it */
    uint32_t trip_groups;     /* one bit a DIAG_GROUP_... */
    uint8_t trip, inhibit, inhibit_charge, derate, warn; /* what follows from all; derate: tier of the worst that only derates */
    uint8_t needs_clear, needs_service, cause_present; /* cause_present: a latched trip still has its cause */
    uint8_t first_trip, active_count, changed, off_seen; /* off_seen: a bus was off since the last tick */
    uint32_t scan_seen, gpio_seen, current_seen, pack_seen, link_seen, insulation_seen;
    /* correlation of steps in current and voltage */
    float sign_sum, sign_weight;
    int32_t sign_ma[2];       /* of the last scan, and of the one before it: the two are not sampled together */
    int64_t sign_uv[2];
    /* limits of the last two seconds, for whoever ignores them */
    int32_t charge_was_ma[2], discharge_was_ma[2];
    uint64_t limit_us;
    uint64_t full_scan_us;    /* last scan with every cell valid */
    uint64_t can_ok_us;
    uint64_t chip_fault_us;   /* fault line high */
} protect_t;

typedef struct {
    int32_t charge_ma, discharge_ma;  /* advertised: for ten seconds */
    uint8_t charge_cause, discharge_cause, derated, reserved;
    int32_t charge_voltage_mv, discharge_voltage_mv;
    int32_t span_charge_ma[POWER_SPANS], span_discharge_ma[POWER_SPANS]; /* for 2, 10, 30 s */
    int32_t charge_w[POWER_SPANS], discharge_w[POWER_SPANS];             /* power these stand for; 30 s is told as for long */
    uint64_t us;
} limits_t;

typedef struct {
    uint16_t heater_pptt, pump_pptt;
    uint8_t heating, reserved[3];
} thermal_t;

typedef struct {
    uint8_t mode, clear, service, balance_allowed, heating_allowed; /* the last good request */
    uint8_t counter, known, clear_edge; /* known: heard, and not silent for too long */
    uint64_t request_us;      /* of the last good one */
    uint32_t good, crc_errors, counter_errors, malformed;
    uint64_t charger_us;
    uint8_t bad; /* bad requests, each weighs two good ones */
    uint8_t charger_seen, charger_state, reserved[5];
} canin_t;

typedef struct {
    uint8_t counter[BMS_MESSAGES_MAX]; /* end-to-end, by row of the generated schedule */
    uint8_t page, temperature_group, balance_group, pressure_group;
    uint16_t voltage_group, soc_group;
    uint32_t sent;
    uint32_t due[100];        /* rows due in each millisecond of the 100 ms schedule, one bit a row */
    uint32_t every_second;    /* rows due only in the first 100 ms of a second */
} canout_t;

typedef struct ecu {
    bms_config_t config;
    uint64_t boot_us, now_us;
    uint32_t steps;           /* millisecond of the second */
    uint32_t assert_place;    /* 0, or 1000 * file + line of the first failed check */
    uint32_t refused;         /* BMS_REFUSED_... */
    uint32_t config_crc;
    uint32_t supply_mv, pins;
    uint8_t reset_cause, est_due, est_running, soc_valid, can_off, reserved;
    uint16_t est_first;       /* block that starts next */
    uint64_t est_us;          /* last pass */
    float est_growth;
    est_pack_t soc;
    est_bank_t est;
    witness_t witness;
    afe_t afe;
    measure_t measure;
    sensor_t sensor;
    charge_t charge;
    protect_t protect;
    plausible_t plausible;
    selfcheck_t selfcheck;
    limits_t limits;
    contactor_t contactor;
    thermal_t thermal;
    balance_t balance;
    leak_t leak;
    watch_t watch;
    store_t store;
    uds_t uds;
    canin_t canin;
    request_t request;
    sleep_t sleep;
    canout_t canout;
} bms_t;

/* A check that must hold. If it does not, the place is kept and every output stays at zero until reset. */
#define BMS_ASSERT(self, condition)                                                          \
    do {                                                                                     \
        if (!(condition)) bms_assert_failed((self), 1000u * BMS_FILE + (uint32_t)__LINE__); \
    } while (0)
void bms_assert_failed(bms_t *self, uint32_t place);

/* ---- the parts, in the order of the data ---------------------------------------------------------------------------------- */

uint32_t config_check(const bms_config_t *config); /* config_check.c: BMS_REFUSED_... */

#define AFE_CONFIG_BYTES 23u /* of a chip's configuration, ACTIVE_CELL to COMM_TIMEOUT, read back every AFE_CONFIG_MS */
#define AFE_CONFIG_MS 80u
#define PRECHARGE_LOOK_MS 10u /* after the contactor's travel, the link must have begun to rise */
#define LINK_STEPS_TO_TOUCH 3 /* readings of the link, 10 ms apart, from the one judged to the touch of main plus: its age and the travel */
#define OPEN_MARGIN_MS 20u   /* after the contactors' travel, before a current through open ones is believed */
static inline uint32_t afe_scan_ms(uint32_t modules)
{
    return modules <= 12u ? 20u : 40u;
}
void afe_init(bms_t *self);
void afe_step(bms_t *self, const ecu_in_t *in, ecu_out_t *out);
void afe_sleep(bms_t *self); /* the chips too */
void afe_wake(bms_t *self);
static inline bool afe_runs(const bms_t *self)
{
    return self->afe.phase == AFE_RUN;
}

void measure_init(bms_t *self);
void measure_cells(bms_t *self, uint32_t chip, const uint8_t *data, uint16_t crc); /* one chip's answer, highest channel first */
void measure_scan_done(bms_t *self);
void measure_module(bms_t *self, uint32_t chip, const uint8_t *data); /* a chip's reading of its whole module */
void measure_gpio(bms_t *self, uint32_t chip, const uint8_t *data); /* TSREF, GPIO1 to GPIO7 */
void measure_gpio_done(bms_t *self);
void measure_block_temperatures(bms_t *self, uint32_t chip);
uint32_t measure_cells_age_ms(const bms_t *self); /* of the oldest reading */
/* First block whose valid reading is value_uv; blocks if none is. */
uint32_t measure_find_cell(const bms_t *self, int32_t value_uv);
uint32_t measure_find_told(const bms_t *self, int32_t value_uv); /* the same of what is told */

void sensor_init(bms_t *self);
void sensor_receive(bms_t *self, const ecu_can_frame_t *frame);
bool sensor_fresh(const bms_t *self, const reading_t *reading, uint32_t age_ms);

void charge_take(bms_t *self, int32_t current_ma);

/* diag.c: debounce, latch and what follows. tier: of a fresh sample, TIER_NONE when fine. */
void diag_judge(bms_t *self, uint32_t id, uint32_t tier, int32_t value, int32_t place);
static inline void diag_sample(bms_t *self, uint32_t id, uint32_t tier, int32_t value, int32_t place)
{
    const uint64_t busy = self->protect.busy_bits[id / DIAG_PER_PAGE] >> id % DIAG_PER_PAGE & 1u;
    if (tier != TIER_NONE || busy != 0u) diag_judge(self, id, tier, value, place); /* nearly never */
}
void diag_tick(bms_t *self);  /* bounds in time, clearing, summary */
void diag_clear(bms_t *self, bool service);
void diag_restore(bms_t *self, uint32_t id); /* latched before a reset */
uint32_t diag_active_tier(const bms_t *self, uint32_t id);

void protect_init(bms_t *self);
void protect_pins(bms_t *self);   /* every step */
void protect_fresh(bms_t *self);  /* every step: judges what is new */
void protect_tick(bms_t *self);   /* every 10 ms */

void limits_slow(bms_t *self); /* every 100 ms */
void limits_tick(bms_t *self); /* every 10 ms */

static inline uint32_t selfcheck_wants(const bms_t *self, uint32_t chip)
{
    const bool pulls = self->selfcheck.phase != SELFCHECK_IDLE && chip == self->selfcheck.chip;
    return pulls ? selfcheck_mask(self) : 0u;
}

void contactor_init(bms_t *self);
void contactor_step(bms_t *self); /* every step, before anything is judged */
void contactor_tick(bms_t *self); /* every 10 ms */
void contactor_trip(bms_t *self); /* at once */
bool current_is_beyond(const bms_t *self, int32_t ma); /* either way, and known */
void fuse_step(bms_t *self);
bool fuse_holds(bms_t *self);
bool fuse_is_awaited(bms_t *self, uint64_t since_us);
extern const uint16_t contactor_next[STATE_COUNT]; /* bit n: STATE n may follow */
/* No bit of state or coils has flipped. */
static inline bool contactor_is_whole(const bms_t *self)
{
    const contactor_t *const c = &self->contactor;
    return c->state < STATE_COUNT && (c->state ^ c->state_not) == 0xFF && (c->coils ^ c->coils_not) == 0xFF;
}
bool contactor_enter(bms_t *self, uint8_t state);  /* false: not now */
void contactor_die(bms_t *self, uint8_t state);    /* STATE_ASSERTED or STATE_REFUSED */
uint32_t contactor_wanted(const bms_t *self);      /* REQUEST_...: what the vehicle asks for now */
/* Service: each contactor alone, closed and opened, feedback compared. False when it may not begin. Over when the state is standby again;
 * contactor.test_failed then has a bit for each that did not follow. */
bool contactor_begin_test(bms_t *self);
static inline bool contactor_is_normal(const bms_t *self)
{
    return self->contactor.state == STATE_NORMAL_DRIVE || self->contactor.state == STATE_NORMAL_CHARGE;
}

void thermal_slow(bms_t *self);
void balance_slow(bms_t *self);
void balancing_stop(bms_t *self);

/* sleep.c */
void sleep_init(bms_t *self);
void sleep_keep_awake(bms_t *self);        /* somebody is here: a tester, a frame */
bool sleep_is_due(const bms_t *self);
void sleep_tick(bms_t *self);              /* every 10 ms in STATE_SLEEP */
void sleep_step(bms_t *self, uint64_t rig_us, ecu_out_t *out); /* at the end of a step */
bool sleep_wakes(bms_t *self, const ecu_in_t *in, ecu_out_t *out); /* while down, first of all */
void sleep_account(bms_t *self);           /* every 10 ms */
float sleep_leak_second_s(bms_t *self);    /* time of the second that is over */
void sleep_keep(bms_t *self);
bool sleep_is_kept(const bms_t *self);

void watch_init(bms_t *self);
void watch_temperatures(bms_t *self, uint32_t chip);
void watch_module(bms_t *self, uint32_t chip, uint32_t first, uint32_t count, uint32_t round); /* every 100 ms; round: 0 to 9 */
void watch_slow(bms_t *self, uint32_t round);

/* uds.c: what a workshop asks. */
void uds_init(bms_t *self, const uint8_t entropy[16]);
void uds_receive(bms_t *self, const ecu_can_frame_t *frame);
void uds_step(bms_t *self, ecu_out_t *out); /* every step */

/* store.c: what outlives a reset. A record that is put is in memory some milliseconds later, whatever happens then. */
void store_init(bms_t *self);
void store_step(bms_t *self, const ecu_in_t *in, ecu_out_t *out); /* every step */
void store_tick(bms_t *self);                                     /* every 10 ms */
void store_mark(bms_t *self, uint32_t record);                    /* has new content */
void store_put(bms_t *self, uint32_t record, const uint8_t bytes[STORE_BYTES]); /* STORE_KEEP to STORE_USER */
const uint8_t *store_get(const bms_t *self, uint32_t record);     /* NULL: never put, or not read yet */
void store_save_soc(bms_t *self);
bool store_knows_rest(const bms_t *self); /* no current flowed for long before this start */
void store_hint_soc(bms_t *self, uint32_t block);                 /* after est_start */
void store_clear_codes(bms_t *self, uint32_t id);
static inline bool store_is_read(const bms_t *self)
{
    return self->store.is_read != 0u;
}
static inline bool store_is_idle(const bms_t *self)
{
    return journal_is_idle(&self->store.journal);
}
static inline bool store_fails(const bms_t *self)
{
    return journal_fails(&self->store.journal);
}

/* request.c: who may close. */
void request_init(bms_t *self, const uint8_t entropy[16]);
void request_receive(bms_t *self, const ecu_can_frame_t *frame);
void request_tick(bms_t *self); /* every 10 ms */
bool request_may_enter(const bms_t *self, uint32_t mode);
bool request_may_clear(const bms_t *self, bool service);
void request_used(bms_t *self); /* another challenge */
uint32_t request_lock_left_ms(const bms_t *self);
static inline bool request_is_ready(const bms_t *self) /* the memory was read, and a challenge can be told */
{
    return self->request.phase == REQUEST_RUNS;
}

void canin_init(bms_t *self);
void canin_receive(bms_t *self, const ecu_can_frame_t *frame);
void canin_tick(bms_t *self);
void canout_init(bms_t *self);
void canout_step(bms_t *self, ecu_out_t *out, uint32_t slot); /* slot: millisecond of the second */
void canout_last_words(bms_t *self, ecu_out_t *out, uint32_t slot);


/* Names, units and places of the configuration, on the host (config_fields.c). */
extern const field_t config_set_fields[], config_est_fields[], config_obs_fields[];
extern const size_t config_set_field_count, config_est_field_count, config_obs_field_count;
extern const size_t config_est_offset, config_obs_offset, config_crc_offset, config_size;

#endif
