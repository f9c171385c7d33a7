/* Passive balancing: timers, the odd/even turn of automatic mode, what stops it, and which FETs conduct.
 *
 * Everything but CB_PAUSE is sampled when BAL_GO is written. Timers stand still while paused. In manual mode all selected channels
 * conduct together: keeping adjacent ones apart is the host's job, and a selection the chip does not allow is refused. */
#include "internal.h"

enum { BAL_CB_PAUSE = 0x40, BAL_FLTSTOP = 0x20, BAL_OTCB = 0x10, BAL_ACTION = 0x0C, BAL_AUTO = 0x01 };
enum { STAT_INVALID = 0x80, STAT_OT_PAUSE = 0x40, STAT_IN_PAUSE = 0x20, STAT_CB_RUN = 0x08, STAT_ABORTED = 0x04, STAT_CB_DONE = 0x01 };

#define MANUAL_FETS_MAX 8u /* assumption: half of the channels at once in manual mode */

static uint32_t timer_ms(uint32_t code)
{
    static const uint16_t first_s[5] = {0, 10, 30, 60, 300};
    code &= 31u;
    if (code < 5u) return first_s[code] * 1000u;
    if (code <= 16u) return (code - 4u) * 600000u;
    return code < 31u ? (code - 16u) * 1800000u + 7200000u : 36000000u;
}

static uint32_t bits_of(uint32_t x)
{
    uint32_t n = 0;
    for (; x != 0; x &= x - 1u) ++n;
    return n;
}

/* NO_ADJ_CB (DEV_CONF bit 6, set at reset) forbids neighbours; without it two in a row are allowed. */
static bool selection_is_valid(const chips_t *c, uint32_t chip, uint32_t mask)
{
    if (reg(c, chip, R_BAL_CTRL2) & BAL_AUTO) return true;
    if (bits_of(mask) > MANUAL_FETS_MAX) return false;
    const uint32_t pairs = mask & mask >> 1;
    return reg(c, chip, R_DEV_CONF) & 0x40u ? pairs == 0 : (pairs & mask >> 2) == 0;
}

/* BAL_STAT keeps its bits until the next BAL_GO. */
void balance_go(chips_t *c, uint32_t chip)
{
    static const uint16_t duty_s[8] = {5, 10, 30, 60, 300, 600, 1200, 1800};
    uint32_t mask = 0;
    uint8_t *const stat = reg_at(c, chip, R_BAL_STAT);
    const uint32_t active = channels_active(c, chip);
    for (uint32_t k = 0; k < active; ++k) {
        const uint32_t ms = timer_ms(reg(c, chip, R_CB_CELL16_CTRL + 15u - k));
        c->balance_left_ms[chip * CHIPS_CHANNELS + k] = ms;
        mask |= ms != 0 ? 1u << k : 0u;
    }
    c->balance_conf[chip] = reg(c, chip, R_BAL_CTRL2);
    c->balance_done_code[chip] = reg(c, chip, R_VCB_DONE_THRESH) & 63u;
    c->balance_duty_ms[chip] = duty_s[reg(c, chip, R_BAL_CTRL1) & 7u] * 1000u;
    c->balance_phase_ms[chip] = 0;
    *reg_at(c, chip, R_CB_COMPLETE1) = *reg_at(c, chip, R_CB_COMPLETE1 + 1) = 0;
    const bool valid = selection_is_valid(c, chip, mask);
    c->balance_channels[chip] = (uint16_t)(valid ? mask : 0u);
    *stat = (uint8_t)(valid ? (mask != 0 ? STAT_CB_RUN : 0) : STAT_INVALID);
}

void balance_stop(chips_t *c, uint32_t chip)
{
    c->balance_channels[chip] = 0;
    balance_drive(c, chip);
}

/* BAL_CTRL3: cell number minus one in bits 4:1; bit 0 loads BAL_TIME with what is left, in 5 s or 300 s steps. */
void balance_report(chips_t *c, uint32_t chip, uint8_t control)
{
    const uint32_t left_s = c->balance_left_ms[chip * CHIPS_CHANNELS + (control >> 1 & 15u)] / 1000u;
    *reg_at(c, chip, R_BAL_CTRL3) = control & 0x1Eu;
    if (control & 1u) *reg_at(c, chip, R_BAL_TIME) = (uint8_t)(left_s < 635u ? left_s / 5u : 0x80u | left_s / 300u);
}

static bool is_too_hot(const chips_t *c, uint32_t chip, const chips_view_t *view)
{
    const double percent = 10.0 + 2.0 * (double)(reg(c, chip, R_OTCB_THRESH) & 15u);
    for (uint32_t gpio = 0; gpio < 8u; ++gpio) {
        if (adc_gpio_function(c, chip, gpio) != GPIO_ADC_OTUT) continue;
        if (100.0 * adc_gpio_ratio(c, chip, gpio, view, 0.0) < percent) return true;
    }
    return false;
}

/* Channels that conduct now: all, or in automatic mode odd and even cells in turn. */
static uint32_t turn(const chips_t *c, uint32_t chip)
{
    const uint32_t mask = c->balance_channels[chip];
    if (!(c->balance_conf[chip] & BAL_AUTO)) return mask;
    const uint32_t odd_cells = mask & 0x5555u, even_cells = mask & 0xAAAAu;
    if (odd_cells == 0 || even_cells == 0) return mask;
    return c->balance_phase_ms[chip] < c->balance_duty_ms[chip] ? odd_cells : even_cells;
}

static void complete(chips_t *c, uint32_t chip, uint32_t channel)
{
    c->balance_channels[chip] &= (uint16_t)~(1u << channel);
    *reg_at(c, chip, R_CB_COMPLETE1 + (channel < 8u ? 1u : 0u)) |= (uint8_t)(1u << (channel & 7u));
}

static void count_down(chips_t *c, uint32_t chip, const chips_view_t *view, uint32_t elapsed_ms)
{
    const uint32_t now_on = turn(c, chip), code = c->balance_done_code[chip];
    const double done_v = 2.45 + 0.025 * ((double)code - 1.0);
    const bool compares = code != 0 && c->ovuv_runs[chip] != 0;
    double pin_v[CHIPS_CHANNELS];
    if (compares) adc_pins(c, chip, view, pin_v);
    for (uint32_t k = 0; k < CHIPS_CHANNELS; ++k) {
        if (!(now_on >> k & 1u)) continue;
        uint32_t *const left = &c->balance_left_ms[chip * CHIPS_CHANNELS + k];
        *left = *left > elapsed_ms ? *left - elapsed_ms : 0;
        if (*left == 0 || (compares && pin_v[k] < done_v)) complete(c, chip, k);
    }
    c->balance_phase_ms[chip] += elapsed_ms;
    if (c->balance_phase_ms[chip] >= 2u * c->balance_duty_ms[chip]) c->balance_phase_ms[chip] = 0;
}

void balance_drive(chips_t *c, uint32_t chip)
{
    const uint32_t wired = (1u << channels_wired(c, chip)) - 1u, open = c->open_wire[chip];
    const bool paused = (reg(c, chip, R_BAL_STAT) & STAT_IN_PAUSE) != 0;
    const uint32_t wanted = paused ? 0u : turn(c, chip);
    const uint32_t on = ((wanted & ~(uint32_t)c->fet_stuck_off[chip]) | c->fet_stuck_on[chip]) & wired;
    const uint32_t flows = on & ~(open | open >> 1); /* a channel whose wire is open carries nothing */
    c->fet_on[chip] = (uint16_t)on;
    if (flows == c->bleed_mask[chip]) return;
    c->bleed_mask[chip] = (uint16_t)flows;
    for (uint32_t k = 0; k < channels_wired(c, chip); ++k) {
        const uint32_t block = chip * c->blocks_per_module + k;
        if (block < CHIPS_BLOCKS_MAX) c->bleed_on[block] = flows >> k & 1u;
    }
}

void balance_step(chips_t *c, uint32_t chip, const chips_view_t *view, uint32_t elapsed_ms)
{
    uint8_t *const stat = reg_at(c, chip, R_BAL_STAT);
    if (*stat & STAT_CB_RUN) {
        const bool was_paused = (*stat & STAT_IN_PAUSE) != 0;
        const bool hot = (c->balance_conf[chip] & BAL_OTCB) && is_too_hot(c, chip, view);
        const bool pause = hot || (reg(c, chip, R_BAL_CTRL2) & BAL_CB_PAUSE);
        *stat = (uint8_t)((*stat & ~(STAT_OT_PAUSE | STAT_IN_PAUSE)) | (hot ? STAT_OT_PAUSE : 0) | (pause ? STAT_IN_PAUSE : 0));
        if (!was_paused) count_down(c, chip, view, elapsed_ms);
        if (!pause && (c->balance_conf[chip] & BAL_FLTSTOP) && faults_summary(c, chip) != 0) {
            c->balance_channels[chip] = 0;
            *stat = (uint8_t)((*stat & ~STAT_CB_RUN) | STAT_ABORTED);
        } else if (c->balance_channels[chip] == 0) {
            *stat = (uint8_t)((*stat & ~STAT_CB_RUN) | STAT_CB_DONE);
            if ((c->balance_conf[chip] & BAL_ACTION) == 0x04u) chip_sleep(c, chip);
            if ((c->balance_conf[chip] & BAL_ACTION) == 0x08u) chip_shutdown(c, chip);
        }
    }
    balance_drive(c, chip);
}
