#include "part.h"

#include <diag.c>

CLAIM(a_latched_diagnosis_stays_watched_and_counted_without_a_tier)
{
    bms_t *const self = part_pack("standby");
    diagnosis_t *const d = &self->protect.diag[DIAG_GAS];
    set_bit(self->protect.busy_bits, DIAG_GAS);
    d->latched = 1u;
    d->good_us = 0u;
    age(self, DIAG_GAS);
    HOLDS(has_bit(self->protect.busy_bits, DIAG_GAS) && d->gone == 1u);
    summarise(self);
    HOLDS(has_bit(self->protect.active_bits, DIAG_GAS) && self->protect.needs_clear == 1u);
    d->latched = 0u;
    age(self, DIAG_GAS);
    HOLDS(!has_bit(self->protect.busy_bits, DIAG_GAS));
    summarise(self);
    HOLDS(!has_bit(self->protect.active_bits, DIAG_GAS));
}

CLAIM(what_never_latches_is_not_restored_and_what_is_latched_not_twice)
{
    bms_t *const self = part_pack("standby");
    uint32_t id = 1;
    while (diagnosis_table[id].latch != 0u) ++id;
    diag_restore(self, id);
    HOLDS(self->protect.diag[id].tier == TIER_NONE && self->protect.diag[id].latched == 0u);
    diag_restore(self, DIAG_GAS);
    HOLDS(self->protect.diag[DIAG_GAS].latched == 1u && self->protect.trip == 1u);
    self->protect.diag[DIAG_GAS].place = 7;
    diag_restore(self, DIAG_GAS);
    HOLDS(self->protect.diag[DIAG_GAS].place == 7);
}
