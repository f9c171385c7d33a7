/* A firmware stepped again with recorded inputs, and its outputs compared with the recorded ones.
 *
 * The stream is that of recorder/steps.h. The loop is open: what the firmware answers now changes nothing of what it is given next,
 * so a firmware that asks its chips other questions gets the answers to the old ones. Both answers, the recorded and the new one,
 * are heard by a vehicle each, so that they can be compared in words: states, diagnoses, limits, estimates.
 */
#ifndef BMS_REPLAY_H
#define BMS_REPLAY_H

#include "ecu_api.h"
#include "loop/vehicle.h"
#include "recorder/steps.h"

#define REPLAY_EVENTS_MAX 64

/* Why replay_feed came back. */
enum {
    REPLAY_DONE = 0,       /* all bytes used */
    REPLAY_DIFFERS = 1,    /* the last step's output is not the recorded one; see expected and out */
    REPLAY_SAMPLE = 2,     /* a sample of both vehicles is due, or their events fill up */
    REPLAY_GAP = 3,        /* steps are missing before the next one: the firmware's state is not that of the recording any more */
    REPLAY_MALFORMED = 4,  /* bytes that are no step */
    REPLAY_REFUSED = 5     /* ecu_init refused the configuration: refused is its code */
};

enum { REPLAY_RECORDED = 0, REPLAY_NEW = 1, REPLAY_SIDES = 2 };

typedef struct {
    uint64_t now_us;
    vehicle_event_t event;
} replay_event_t;

typedef struct {
    const ecu_api_t *api;
    ecu_t *firmware; /* api->size() bytes, aligned to 16 */
    const void *config;
    size_t config_size;
    uint64_t number;    /* of the step that follows */
    uint64_t steps, boots, differences, gaps;
    uint64_t first_us, first_difference_us, first_difference_number, sample_us, next_sample_us;
    uint32_t knows_number, stops_at_differences, refused, is_started;
    steps_base_t in_base, expected_base, out_base;
    ecu_in_t in;
    ecu_out_t expected, out;
    vehicle_t vehicle[REPLAY_SIDES];
    uint32_t event_count[REPLAY_SIDES];
    replay_event_t event[REPLAY_SIDES][REPLAY_EVENTS_MAX];
} replay_t;

/* sample_us: time between REPLAY_SAMPLE; 0 for none, and then no vehicle listens. */
void replay_start(replay_t *r, uint64_t sample_us);
/* Steps through `bytes`; *used says how far. Call again with the rest until REPLAY_DONE, which may leave nothing. */
uint32_t replay_feed(replay_t *r, const uint8_t *bytes, size_t size, size_t *used);

#endif
