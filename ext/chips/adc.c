/* The main ADC: volts to counts, with each channel's own error.
 *
 * One round robin of all slots takes 192 us and runs whether or not its results are read. The noise of a conversion is a function
 * of (key, round robin, chip, channel). Result steps are those of SLUSE81. */
#if defined __SSE2__ && !defined CHIPS_PORTABLE
#define CHIPS_SSE2
#include <emmintrin.h>
#endif

#include "internal.h"
#include "philox.h"

#define ROUND_US 192u
#define SKEW_US 5u /* each device starts so much later than the one below */
#define SINGLE_ROUNDS 8u
#define CELL_STEP_V 190.73e-6
#define GPIO_STEP_V 152.59e-6
#define TSREF_STEP_V 169.54e-6
#define DIE_STEP_K 0.025
#define AUX_BAT_STEP_V 3.05e-3
#define LANE_GPIO 4u /* lanes 0 to 3 are cells, 4 to 7 pins and references */
#define LANES_PER_CHIP 8u

/* Four Philox blocks side by side: word 4 j + l is word j of the block of lane l. */
#ifdef CHIPS_SSE2
/* Two lanes a register, each in the low half of 64 bits, where the multiply looks; what is left in the high halves never matters. */
static inline void noise_words(uint64_t key, uint64_t round, uint32_t first_lane, uint32_t words[16])
{
    const __m128i m0 = _mm_set1_epi64x(0xD2511F53), m1 = _mm_set1_epi64x(0xCD9E8D57);
    const __m128i w0 = _mm_set1_epi64x(0x9E3779B9), w1 = _mm_set1_epi64x(0xBB67AE85);
    __m128i k0 = _mm_set1_epi64x((int64_t)(key & 0xFFFFFFFFu)), k1 = _mm_set1_epi64x((int64_t)(key >> 32));
    __m128i c0[2], c1[2], c2[2], c3[2];
    for (uint32_t h = 0; h < 2u; ++h) {
        const int64_t lane = (int64_t)first_lane + 2 * (int64_t)h;
        c0[h] = _mm_set1_epi64x((int64_t)(round & 0xFFFFFFFFu));
        c1[h] = _mm_set1_epi64x((int64_t)(round >> 32));
        c2[h] = _mm_set_epi64x(lane + 1, lane);
        c3[h] = _mm_setzero_si128();
    }
    for (uint32_t step = 0; step < 10u; ++step) {
        for (uint32_t h = 0; h < 2u; ++h) {
            const __m128i p0 = _mm_mul_epu32(c0[h], m0), p1 = _mm_mul_epu32(c2[h], m1);
            c0[h] = _mm_xor_si128(_mm_srli_epi64(p1, 32), _mm_xor_si128(c1[h], k0));
            c2[h] = _mm_xor_si128(_mm_srli_epi64(p0, 32), _mm_xor_si128(c3[h], k1));
            c1[h] = p1;
            c3[h] = p0;
        }
        k0 = _mm_add_epi32(k0, w0);
        k1 = _mm_add_epi32(k1, w1);
    }
    const __m128i *const all[4] = {c0, c1, c2, c3};
    for (uint32_t j = 0; j < 4u; ++j) {
        const __m128 low = _mm_castsi128_ps(all[j][0]), high = _mm_castsi128_ps(all[j][1]);
        _mm_storeu_si128((__m128i *)(void *)(words + 4u * j), _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0))));
    }
}
#else
static inline void noise_words(uint64_t key, uint64_t round, uint32_t first_lane, uint32_t words[16])
{
    for (uint32_t l = 0; l < 4u; ++l) {
        const philox_block_t block = philox(key, round, first_lane + l);
        for (uint32_t j = 0; j < 4u; ++j) words[4u * j + l] = block.v[j];
    }
}
#endif

bool adc_has_result(const chips_t *c, uint32_t chip, uint64_t now_us)
{
    const uint64_t need_us = ROUND_US * (c->adc_mode[chip] == 2 ? 1u : SINGLE_ROUNDS);
    return c->adc_start_us[chip] != 0 && now_us >= c->adc_start_us[chip] + need_us;
}

/* Sense wires: balancing current flows through them, and an open one leaves its pin floating half-way between its neighbours
 * until a balancing FET pulls it to one side. */
static void disturb(const chips_t *c, uint32_t chip, uint32_t wired, double v[CHIPS_CHANNELS])
{
    double true_v[CHIPS_CHANNELS], drop_v[CHIPS_CHANNELS + 2u];
    const uint32_t bled = c->bleed_mask[chip];
    const double share[2] = {0.0, c->sense_wire_ohm / c->bleed_ohm}; /* of a cell's voltage on each of its two wires while it bleeds */
    memcpy(true_v, v, sizeof true_v);
    drop_v[0] = drop_v[wired + 1u] = 0.0;
    for (uint32_t k = 0; k < wired; ++k) drop_v[k + 1u] = true_v[k] * share[bled >> k & 1u];
    for (uint32_t k = 0; k < wired; ++k) v[k] -= 2.0 * drop_v[k + 1u] - drop_v[k] - drop_v[k + 2u];
    if (c->open_wire[chip] == 0) return;
    for (uint32_t wire = 0; wire <= wired && wired != 0; ++wire) {
        if (!(c->open_wire[chip] >> wire & 1u)) continue;
        const bool below_on = wire > 0 && (c->fet_on[chip] >> (wire - 1u) & 1u);
        const bool above_on = wire < wired && (c->fet_on[chip] >> wire & 1u);
        if (wire == 0) v[0] = above_on ? 0.0 : 0.5 * true_v[0];
        else if (wire == wired) v[wire - 1u] = below_on ? 0.0 : 0.5 * true_v[wire - 1u];
        else {
            const double both = true_v[wire - 1u] + true_v[wire];
            const double share = below_on == above_on ? 0.5 : (below_on ? 0.0 : 1.0);
            v[wire - 1u] = share * both;
            v[wire] = both - v[wire - 1u];
        }
    }
}

void adc_pins(const chips_t *c, uint32_t chip, const chips_view_t *view, double pin_v[CHIPS_CHANNELS])
{
    const uint32_t wired = channels_wired(c, chip);
    const double *const block_v = view->block_voltage_v + module_of(c, chip) * c->blocks_per_module;
    if (wired == CHIPS_CHANNELS) memcpy(pin_v, block_v, CHIPS_CHANNELS * sizeof pin_v[0]); /* the usual size, without a call */
    else {
        memset(pin_v, 0, CHIPS_CHANNELS * sizeof pin_v[0]);
        memcpy(pin_v, block_v, wired * sizeof pin_v[0]);
    }
    if ((c->open_wire[chip] | c->bleed_mask[chip]) != 0) disturb(c, chip, wired, pin_v);
    const uint32_t k = c->channels_swapped[chip];
    if (k == 0u || k >= wired) return;
    const double below_v = pin_v[k - 1u];
    pin_v[k - 1u] = pin_v[k];
    pin_v[k] = below_v;
}

/* The low-pass filter is modelled by what it does to noise: white noise of a 2604 Hz band (half the round robin rate) through a
 * first-order filter of corner f keeps sqrt(1.57 f / 2604) of its sigma. */
static double filter_factor(const chips_t *c, uint32_t chip)
{
    static const double factor[8] = {0.0626, 0.0886, 0.125, 0.179, 0.259, 0.380, 0.602, 1.0}; /* 6.5, 13, 26, 53, 111, 240, 600 Hz */
    return reg(c, chip, R_ADC_CTRL1) & 8u ? factor[reg(c, chip, R_ADC_CONF1) & 7u] : 1.0;
}

/* Sixteen results in register order (VCELL16 first, high byte first): v + v gain + offset + factor sigma noise, rounded. */
#ifdef CHIPS_SSE2
static inline __m128i two_counts(__m128d v, const double *gain, const double *offset, const double *sigma, __m128d factor, __m128i sums)
{
    const __m128d random = _mm_mul_pd(_mm_cvtepi32_pd(sums), _mm_set1_pd(1.0 / 147.80166891254423));
    __m128d x = _mm_add_pd(_mm_add_pd(v, _mm_mul_pd(v, _mm_loadu_pd(gain))), _mm_loadu_pd(offset));
    x = _mm_add_pd(x, _mm_mul_pd(_mm_mul_pd(factor, _mm_loadu_pd(sigma)), random));
    x = _mm_mul_pd(x, _mm_set1_pd(1.0 / CELL_STEP_V));
    x = _mm_max_pd(_mm_min_pd(x, _mm_set1_pd(32767.0)), _mm_set1_pd(-32767.0)); /* the second operand where the first is NaN */
    return _mm_sub_epi32(_mm_cvttpd_epi32(_mm_add_pd(x, _mm_set1_pd(32768.5))), _mm_set1_epi32(32768));
}

static inline __m128i four_counts(const double *v, const double *gain, const double *offset, const double *sigma, __m128d factor,
                                  const uint32_t *words)
{
    const __m128i bytes = _mm_set1_epi32(0x00FF00FF), w = _mm_loadu_si128((const __m128i *)(const void *)words);
    const __m128i pairs = _mm_add_epi16(_mm_and_si128(w, bytes), _mm_and_si128(_mm_srli_epi32(w, 8), bytes));
    const __m128i sums = _mm_sub_epi32(_mm_madd_epi16(pairs, _mm_set1_epi16(1)), _mm_set1_epi32(510));
    const __m128i low = two_counts(_mm_loadu_pd(v), gain, offset, sigma, factor, sums);
    const __m128i high = two_counts(_mm_loadu_pd(v + 2), gain + 2, offset + 2, sigma + 2, factor, _mm_srli_si128(sums, 8));
    return _mm_unpacklo_epi64(low, high);
}

static inline void cell_counts(const double *v, const double *gain, const double *offset, const double *sigma, double factor,
                               const uint32_t words[16], uint8_t out[32])
{
    const __m128d f = _mm_set1_pd(factor);
    for (uint32_t k = 0; k < CHIPS_CHANNELS; k += 8u) {
        __m128i x = _mm_packs_epi32(four_counts(v + k, gain + k, offset + k, sigma + k, f, words + k),
                                    four_counts(v + k + 4, gain + k + 4, offset + k + 4, sigma + k + 4, f, words + k + 4));
        x = _mm_shufflehi_epi16(_mm_shufflelo_epi16(x, _MM_SHUFFLE(0, 1, 2, 3)), _MM_SHUFFLE(0, 1, 2, 3));
        x = _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2));
        x = _mm_or_si128(_mm_slli_epi16(x, 8), _mm_srli_epi16(x, 8));
        _mm_storeu_si128((__m128i *)(void *)(out + 2u * (8u - k)), x);
    }
}
#else
static inline void cell_counts(const double *v, const double *gain, const double *offset, const double *sigma, double factor,
                               const uint32_t words[16], uint8_t out[32])
{
    for (uint32_t k = 0; k < CHIPS_CHANNELS; ++k) {
        const double read_v = v[k] + v[k] * gain[k] + offset[k] + factor * sigma[k] * philox_gauss(words[k]);
        const uint32_t raw = (uint32_t)clamped_count(read_v * (1.0 / CELL_STEP_V));
        out[2u * (15u - k)] = (uint8_t)(raw >> 8);
        out[2u * (15u - k) + 1u] = (uint8_t)raw;
    }
}
#endif

static void cell_results(const chips_t *c, uint32_t chip, const chips_view_t *view, uint64_t round, uint8_t out[32])
{
    const uint32_t first = chip * CHIPS_CHANNELS;
    double pin_v[CHIPS_CHANNELS];
    uint32_t words[16];
    adc_pins(c, chip, view, pin_v);
    noise_words(c->noise_key, round, chip * LANES_PER_CHIP, words);
    cell_counts(pin_v, c->cell_gain_frac + first, c->cell_offset_v + first, c->cell_noise_v + first, filter_factor(c, chip), words, out);
    for (uint32_t k = channels_active(c, chip); k < CHIPS_CHANNELS; ++k) { /* not in use: no result */
        out[2u * (15u - k)] = 0x80;
        out[2u * (15u - k) + 1u] = 0;
    }
}

uint32_t adc_gpio_function(const chips_t *c, uint32_t chip, uint32_t gpio)
{
    return reg(c, chip, R_GPIO_CONF1 + gpio / 2u) >> (3u * (gpio & 1u)) & 7u;
}

/* Pin over reference. An NTC hangs between pin and ground under a pull-up to TSREF; a pin with nothing on it reads the reference. */
double adc_gpio_ratio(const chips_t *c, uint32_t chip, uint32_t gpio, const chips_view_t *view, double random)
{
    if (gpio < CHIPS_THERMISTORS) {
        const uint32_t place = chip * CHIPS_THERMISTORS + gpio;
        const uint32_t broken = c->thermistor_broken[place];
        if (c->thermistor_block[place] < 0 || broken == 1u) return 1.0;
        if (broken == 2u) return 0.0;
        const double at_degc = broken == 3u ? view->ambient_degc : view->cell_surface_degc[c->thermistor_block[place]];
        const double degc = at_degc + c->temperature_offset_k[place] + c->temperature_noise_k * random;
        double x = degc - (double)CHIPS_NTC_MIN_DEGC;
        x = x > 0.0 ? x : 0.0; /* also NaN */
        x = x < (double)(CHIPS_NTC_POINTS - 1u) - 1e-9 ? x : (double)(CHIPS_NTC_POINTS - 1u) - 1e-9;
        const uint32_t k = (uint32_t)(int32_t)x;
        return c->ntc_ratio[k] + (x - (double)k) * (c->ntc_ratio[k + 1u] - c->ntc_ratio[k]);
    }
    if (gpio != CHIPS_THERMISTORS || !c->pressure_is_fitted || c->pressure_broken[chip] == 1u) return 0.0;
    const bool is_held = c->pressure_broken[chip] == 3u;
    const double live_kpa = view->module_pressure_kpa[chip] + c->pressure_offset_kpa[chip] + c->pressure_noise_kpa * random;
    const double kpa = is_held ? c->pressure_held_kpa[chip] : live_kpa;
    const double ratio = 0.1 + 0.8 * kpa / c->pressure_full_scale_kpa;
    return ratio < 0.0 ? 0.0 : (ratio < 1.0 ? ratio : 1.0); /* the sensor saturates at its supply */
}

static void put_count(uint8_t *out, double counts)
{
    const uint32_t raw = (uint32_t)clamped_count(counts);
    out[0] = (uint8_t)(raw >> 8);
    out[1] = (uint8_t)raw;
}

/* Bus bar, TSREF and pins: registers 588 to 59D. */
static void pin_results(const chips_t *c, uint32_t chip, const chips_view_t *view, uint64_t round, uint8_t *out)
{
    uint32_t words[16];
    const double tsref_v = reg(c, chip, R_CONTROL2) & 1u ? c->tsref_v[chip] : 0.0;
    noise_words(c->noise_key, round, chip * LANES_PER_CHIP + LANE_GPIO, words);
    memset(out, 0, R_RESULTS_END - R_BUSBAR_HI);
    put_count(out + (R_TSREF_HI - R_BUSBAR_HI), tsref_v * (1.0 / TSREF_STEP_V));
    for (uint32_t gpio = 0; gpio < 8u; ++gpio) {
        uint8_t *const place = out + (R_GPIO1_HI - R_BUSBAR_HI) + 2u * gpio;
        const uint32_t function = adc_gpio_function(c, chip, gpio);
        const double pin_v = tsref_v * adc_gpio_ratio(c, chip, gpio, view, philox_gauss(words[gpio]));
        if (function == GPIO_ADC || function == GPIO_ADC_OTUT) put_count(place, pin_v * (1.0 / GPIO_STEP_V));
        else place[0] = 0x80;
    }
}

/* Die temperatures and module voltage. Assumption: a die is 8 K above ambient, 2 K more for each balancing FET. */
static void aux_results(chips_t *c, uint32_t chip, const chips_view_t *view)
{
    double module_v = 0.0, die_degc = view->ambient_degc + 8.0;
    for (uint32_t k = 0; k < channels_wired(c, chip); ++k) {
        module_v += view->block_voltage_v[chip * c->blocks_per_module + k];
        die_degc += c->fet_on[chip] >> k & 1u ? 2.0 : 0.0;
    }
    put_count(reg_at(c, chip, R_DIETEMP1_HI), die_degc * (1.0 / DIE_STEP_K));
    put_count(reg_at(c, chip, R_DIETEMP2_HI), die_degc * (1.0 / DIE_STEP_K));
    put_count(reg_at(c, chip, R_AUX_BAT_HI), module_v * (1.0 / AUX_BAT_STEP_V));
}

static void convert(chips_t *c, uint32_t chip, uint32_t address, uint32_t count, const chips_view_t *view, uint64_t round)
{
    const uint32_t end = address + count;
    if (end > R_VCELL16_HI && address < R_BUSBAR_HI) {
        uint8_t cells[32];
        uint32_t from = address > R_VCELL16_HI ? address - R_VCELL16_HI : 0, to = end < R_BUSBAR_HI ? end - R_VCELL16_HI : 32u;
        from = (from + 1u) & ~1u; /* reading a high byte latches its low byte; a low byte alone is the latched one */
        to = (to + 1u) & ~1u;
        cell_results(c, chip, view, round, cells);
        if (from < to) {
            memcpy(reg_at(c, chip, R_VCELL16_HI + from), cells + from, to - from);
            c->conversions += (to - from) / 2u;
        }
    }
    if (end > R_BUSBAR_HI && address < R_RESULTS_END) {
        uint8_t pins[R_RESULTS_END - R_BUSBAR_HI];
        uint32_t from = address > R_BUSBAR_HI ? address - R_BUSBAR_HI : 0;
        uint32_t to = end < R_RESULTS_END ? end - R_BUSBAR_HI : R_RESULTS_END - R_BUSBAR_HI;
        from = (from + 1u) & ~1u;
        to = (to + 1u) & ~1u;
        pin_results(c, chip, view, round, pins);
        if (from < to) memcpy(reg_at(c, chip, R_BUSBAR_HI + from), pins + from, to - from);
    }
    if (end > R_DIETEMP1_HI) aux_results(c, chip, view);
}

void adc_refresh(chips_t *c, uint32_t chip, uint32_t address, uint32_t count, const chips_view_t *view, uint64_t now_us)
{
    if (c->adc_mode[chip] != 2 || c->frozen[chip] || !adc_has_result(c, chip, now_us)) return;
    convert(c, chip, address, count, view, now_us / ROUND_US);
}

void adc_finish_single(chips_t *c, uint32_t chip, const chips_view_t *view, uint64_t now_us)
{
    if (c->adc_mode[chip] != 1 || !adc_has_result(c, chip, now_us)) return;
    c->adc_mode[chip] = 0;
    if (!c->frozen[chip]) convert(c, chip, R_VCELL16_HI, R_AUX_END - R_VCELL16_HI, view, c->adc_start_us[chip] / ROUND_US + SINGLE_ROUNDS);
}

/* The settings are taken when MAIN_GO is written; a running ADC leaves its last results behind when it stops or starts anew. */
void adc_control(chips_t *c, uint32_t chip, uint8_t value, const chips_view_t *view, uint64_t now_us)
{
    *reg_at(c, chip, R_ADC_CTRL1) = value & 0xFBu; /* MAIN_GO clears itself */
    if (!(value & 4u)) return;
    adc_refresh(c, chip, R_VCELL16_HI, R_AUX_END - R_VCELL16_HI, view, now_us);
    c->adc_mode[chip] = (value & 3u) == 3u ? 0 : value & 3u;
    c->adc_start_us[chip] = c->adc_mode[chip] != 0 ? now_us + chip * SKEW_US : 0;
    if (c->adc_mode[chip] == 1) c->service_us = 0; /* look every millisecond until it is done */
}
