#include "part.h"

#include <store.c>

CLAIM(what_was_put_before_memory_was_read_is_not_overwritten_by_it)
{
    bms_t *const self = part_pack("standby");
    uint8_t mine[STORE_BYTES], kept[STORE_BYTES];
    memset(mine, 0x11, sizeof mine);
    memset(kept, 0x22, sizeof kept);
    self->store.is_read = 0u;
    self->store.early = 0u;
    HOLDS(store_get(self, STORE_USER) == NULL);
    store_put(self, STORE_USER, mine);
    HOLDS(store_get(self, STORE_USER) != NULL);
    take(self, STORE_USER, kept);
    HOLDS(self->store.image[STORE_USER][0] == 0x11u);
    take(self, STORE_REST, kept);
    HOLDS(self->store.image[STORE_REST][0] == 0x22u);
    store_mark(self, STORE_SOC_0); /* kept once: what is read is older and wins nothing */
    HOLDS(self->store.early == 1u << STORE_USER);
    memset(kept, 0x33, sizeof kept);
    take(self, STORE_SOC_0, kept);
    HOLDS(self->store.soc_cpct[0] == 0x3333u);
}

CLAIM(a_record_is_given_once_memory_was_read_and_had_it)
{
    bms_t *const self = part_pack("standby");
    self->store.early = 0u;
    self->store.journal.version[STORE_USER] = 0u;
    HOLDS(store_get(self, STORE_USER) == NULL);
    self->store.journal.version[STORE_USER] = 1u;
    HOLDS(store_get(self, STORE_USER) == self->store.image[STORE_USER]);
    self->store.is_read = 0u;
    HOLDS(store_get(self, STORE_USER) == NULL);
    self->store.early = 1u << STORE_USER;
    HOLDS(store_get(self, STORE_USER) == self->store.image[STORE_USER]);
}

CLAIM(a_code_has_one_freeze_frame_and_the_first_stays)
{
    bms_t *const self = part_pack("standby");
    const uint32_t before = self->store.frames;
    self->protect.diag[DIAG_GAS].value = 1;
    keep_frame(self, DIAG_GAS);
    self->protect.diag[DIAG_GAS].value = 2;
    keep_frame(self, DIAG_GAS);
    HOLDS(self->store.frames == before + 1u);
    uint32_t found = 0;
    for (uint32_t k = 0; k < STORE_FRAMES; ++k) {
        if (self->store.frame[k].id != DIAG_GAS) continue;
        ++found;
        HOLDS(self->store.frame[k].value == 1);
    }
    HOLDS(found == 1u);
}

CLAIM(a_code_fails_from_warn_on_and_until_its_cause_is_gone)
{
    diagnosis_t d = {0};
    d.tier = TIER_OPERATE;
    HOLDS(!fails(&d));
    d.tier = TIER_WARN;
    HOLDS(fails(&d));
    d.latched = 1u;
    HOLDS(fails(&d));
    d.gone = 1u;
    HOLDS(!fails(&d));
    d.latched = 0u;
    HOLDS(fails(&d));
}

CLAIM(clearing_one_code_leaves_the_others_and_what_is_latched)
{
    bms_t *const self = part_pack("standby");
    self->store.code[DIAG_GAS] = self->store.code[DIAG_H2S] = self->store.code[DIAG_CELL_OVERVOLTAGE] = CODE_CONFIRMED;
    self->protect.diag[DIAG_CELL_OVERVOLTAGE].latched = 1u;
    store_clear_codes(self, DIAG_GAS);
    HOLDS((self->store.code[DIAG_GAS] & CODE_CONFIRMED) == 0u && (self->store.code[DIAG_H2S] & CODE_CONFIRMED) != 0u);
    store_clear_codes(self, 0u);
    HOLDS((self->store.code[DIAG_H2S] & CODE_CONFIRMED) == 0u && (self->store.code[DIAG_CELL_OVERVOLTAGE] & CODE_CONFIRMED) != 0u);
}

CLAIM(a_charge_that_is_not_known_is_not_saved_over_one_that_was)
{
    bms_t *const self = part_pack("standby");
    self->store.soc_cpct[0] = 1234u;
    self->soc_valid = 0u;
    store_save_soc(self);
    HOLDS(self->store.soc_cpct[0] == 1234u);
    self->soc_valid = 1u;
    self->est_running = 0u;
    store_save_soc(self);
    HOLDS(self->store.soc_cpct[0] == 1234u);
    self->est_running = 2u;
    store_save_soc(self);
    HOLDS(self->store.soc_cpct[0] != 1234u);
}

CLAIM(a_saved_charge_beyond_full_or_unsure_is_no_hint)
{
    bms_t *const self = part_pack("standby");
    const est_bank_t was = self->est;
    self->store.soc_cpct[0] = 10001u;
    store_hint_soc(self, 0u);
    HOLDS(memcmp(&was, &self->est, sizeof was) == 0);
    self->store.soc_cpct[0] = (uint16_t)(5000u | 3u << SOC_SURE_BIT);
    store_hint_soc(self, 0u);
    HOLDS(memcmp(&was, &self->est, sizeof was) == 0);
    self->store.soc_cpct[0] = (uint16_t)to_i32(self->est.base[0] * 10000.0f, 0, 10000, 0);
    self->est.p11[0] = 0.01f;
    store_hint_soc(self, 0u);
    HOLDS(self->est.p11[0] < 0.01f);
}

CLAIM(health_that_was_kept_of_another_pack_is_forgotten)
{
    bms_t *const self = part_pack("standby");
    uint8_t kept[STORE_BYTES];
    memset(kept, 0x55, sizeof kept);
    take(self, STORE_HEALTH_0, kept);
    HOLDS(self->store.restored == 1u && self->watch.health.scale[0] != 1.0f);
    self->store.image[STORE_IDENTITY][0] ^= 1u;
    was_read(self);
    HOLDS(self->store.restored == 0u && self->watch.health.scale[0] == 1.0f);
}
