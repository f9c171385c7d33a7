#include "part.h"

#include <health.c>

CLAIM(health_of_more_blocks_and_modules_than_there_is_room_for_is_not_kept)
{
    bms_t *const self = part_pack("standby");
    health_t *const h = &self->watch.health;
    health_init(h, EST_BLOCKS_MAX + 1u);
    HOLDS(h->count == EST_BLOCKS_MAX);
    health_init(h, 10u);
    const health_t was = *h;
    health_resistance(h, &self->est, &self->config.est, HEALTH_MODULES_MAX, 0u, 10u, 2.0f, 10.0f, 0.0f, self->measure.cell_uv, self->measure.cell_valid);
    HOLDS(memcmp(&was, h, sizeof was) == 0);
}

CLAIM(a_record_has_nothing_of_blocks_that_do_not_exist_and_gives_them_nothing)
{
    bms_t *const self = part_pack("standby");
    health_t *const h = &self->watch.health;
    uint8_t bytes[STORE_BYTES];
    health_init(h, 10u);
    memset(bytes, 0xA5, sizeof bytes);
    health_write(h, 1u, bytes); /* blocks 8 to 15 */
    HOLDS(bytes[6] != 0u || bytes[7] != 0u);
    for (uint32_t k = 12; k < 48u; ++k) HOLDS(bytes[k] == 0u);
    memset(bytes, 0x55, sizeof bytes);
    h->scale[10] = 42.0f;
    health_read(h, 1u, bytes);
    HOLDS(h->scale[9] != 1.0f && h->scale[10] == 42.0f);
}

CLAIM(capacity_stays_where_the_sums_say_nothing)
{
    bms_t *const self = part_pack("standby");
    health_t *const h = &self->watch.health;
    health_init(h, 16u);
    h->capacity_frac[0] = 0.9f;
    h->sxy[0] = -1.0f; /* the charge counted went the other way */
    solve(h, 0u);
    HOLDS(h->capacity_frac[0] == 0.9f);
    h->sxy[0] = h->sxx[0];
    solve(h, 0u);
    HOLDS(h->capacity_frac[0] != 0.9f);
}

/* A rest at charge z, counted y since the start, with this variance. */
static void rest(health_t *h, const est_params_t *params, float z, float y, float var)
{
    h->next_z[0] = z;
    h->next_count[0] = y;
    h->next_var[0] = var;
    health_rest_over(h, params, 0u, 1u);
}

CLAIM(two_rests_far_apart_make_a_pair_and_near_ones_keep_the_surer)
{
    bms_t *const self = part_pack("standby");
    health_t *const h = &self->watch.health;
    const est_params_t *const p = &self->config.est;
    health_init(h, 1u);
    rest(h, p, 0.5f, 0.5f, 0.0f);
    HOLDS(h->last_var[0] == 0.0f); /* there was no rest */
    rest(h, p, 0.9f, 0.9f, 1e-4f);
    HOLDS(h->points == 0u && h->last_z[0] == 0.9f);
    rest(h, p, 0.89f, 0.89f, 2e-4f);
    HOLDS(h->points == 0u && h->last_z[0] == 0.9f); /* near, and less sure */
    rest(h, p, 0.88f, 0.88f, 1e-5f);
    HOLDS(h->points == 0u && h->last_z[0] == 0.88f); /* near, and surer */
    rest(h, p, 0.2f, 0.2f, 1e-2f);
    HOLDS(h->points == 1u && h->last_z[0] == 0.2f); /* far */
}
