#include "part.h"

#include <chain.c>

CLAIM(in_a_ring_of_thirty_two_each_chip_is_in_one_half)
{
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    for (uint32_t modules = 3; modules <= BMS_MODULES_MAX; modules += 29u) {
        const uint32_t all = modules == 32u ? UINT32_MAX : (1u << modules) - 1u;
        self->config.set.modules = (uint8_t)modules;
        chain_reset(self);
        HOLDS(afe->near_chips == all && afe->far_chips == 0u);
        for (uint32_t gap = 1; gap < modules; ++gap) {
            ecu_out_t out = {0};
            afe->mend_gap = (uint8_t)gap;
            afe->probe_known = (int8_t)(modules - gap);
            ring_is_open(self, &out);
            HOLDS((afe->near_chips & afe->far_chips & ~1u) == 0u && (afe->near_chips | afe->far_chips) == all);
        }
    }
}

CLAIM(the_second_half_is_not_asked_before_the_line_is_free)
{
    bms_t *const self = part_pack("standby");
    afe_t *const afe = &self->afe;
    ecu_out_t out = {0};
    afe->part_is_due = 1u;
    afe->wait_us = self->now_us + 1u;
    HOLDS(chain_waits(self, &out) && afe->part_is_due == 1u && out.uart[0].count == 0u);
    afe->wait_us = self->now_us;
    HOLDS(chain_waits(self, &out) && afe->part_is_due == 0u && out.uart[0].count != 0u);
}
