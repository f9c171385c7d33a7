#define _GNU_SOURCE
#include "realtime/lines.h"

#include <errno.h>
#include <linux/gpio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIELD_OWNER lines_fields_t
FIELD_TABLE(lines_fields, LINES_FIELDS);
#undef FIELD_OWNER
const size_t lines_field_count = FIELD_COUNT(lines_fields);

/* ---- the two kinds of lines; `values` has bit k for line k of the list, as the wire is ---- */

static int request(int chip, const uint32_t *offset, uint32_t count, uint64_t flags, uint64_t values)
{
    struct gpio_v2_line_request r;
    memset(&r, 0, sizeof r);
    for (uint32_t k = 0; k < count; ++k) r.offsets[k] = offset[k];
    memcpy(r.consumer, "solid-bms", sizeof "solid-bms");
    r.num_lines = count;
    r.config.flags = flags;
    if (flags & GPIO_V2_LINE_FLAG_OUTPUT) {
        r.config.num_attrs = 1;
        r.config.attrs[0].attr.id = GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES;
        r.config.attrs[0].attr.values = values;
        r.config.attrs[0].mask = (UINT64_C(1) << count) - 1u;
    }
    return ioctl(chip, GPIO_V2_GET_LINE_IOCTL, &r) == 0 ? r.fd : -errno;
}

static bool get(lines_t *l, uint32_t *values)
{
    const lines_fields_t *const f = &l->fields;
    *values = 0;
    if (f->kind == LINES_GPIO) {
        struct gpio_v2_line_values v = {0, (UINT64_C(1) << f->in_count) - 1u};
        if (ioctl(f->in_fd, GPIO_V2_LINE_GET_VALUES_IOCTL, &v) != 0) return false;
        *values = (uint32_t)v.bits;
        return true;
    }
    for (uint32_t k = 0; k < f->in_count; ++k) {
        char level = 0;
        if (pread(f->fd, &level, 1, (off_t)f->in_offset[k]) != 1 || (level != '0' && level != '1')) return false;
        *values |= (uint32_t)(level == '1') << k;
    }
    return true;
}

static bool set(lines_t *l, uint32_t values)
{
    lines_fields_t *const f = &l->fields;
    if (f->kind == LINES_GPIO) {
        struct gpio_v2_line_values v = {values, (UINT64_C(1) << f->out_count) - 1u};
        if (f->out_fd < 0) f->out_fd = request(f->fd, f->out_offset, f->out_count, GPIO_V2_LINE_FLAG_OUTPUT, values);
        return f->out_fd >= 0 && ioctl(f->out_fd, GPIO_V2_LINE_SET_VALUES_IOCTL, &v) == 0;
    }
    f->out_fd = f->fd;
    for (uint32_t k = 0; k < f->out_count; ++k)
        if (pwrite(f->fd, values >> k & 1u ? "1" : "0", 1, (off_t)f->out_offset[k]) != 1) return false;
    return true;
}

/* ---- pins ---- */

static uint32_t pins_of(const lines_fields_t *f, uint32_t values)
{
    uint32_t pins = 0;
    for (uint32_t k = 0; k < f->in_count; ++k) pins |= ((values ^ f->in_inverted) >> k & 1u) << f->in_bit[k];
    return pins;
}

static uint32_t values_of(const lines_fields_t *f, uint32_t pins)
{
    uint32_t values = 0;
    for (uint32_t k = 0; k < f->out_count; ++k) values |= (pins >> f->out_bit[k] & 1u) << k;
    return values ^ f->out_inverted;
}

int lines_open(lines_t *l)
{
    lines_fields_t *const f = &l->fields;
    f->in_fd = f->out_fd = -1;
    if (f->kind != LINES_GPIO || f->in_count == 0u) return 0;
    f->in_fd = request(f->fd, f->in_offset, f->in_count, GPIO_V2_LINE_FLAG_INPUT, 0);
    return f->in_fd < 0 ? f->in_fd : 0;
}

void lines_step(lines_t *l, runner_t *r, uint64_t now_us)
{
    lines_fields_t *const f = &l->fields;
    uint32_t values = 0;
    const uint64_t span = __atomic_exchange_n(&f->arm_us, (uint64_t)0, __ATOMIC_ACQ_REL);
    if (span) gate_arm(&l->gate, now_us, span - 1u);
    if (f->in_count) {
        const bool good = get(l, &values);
        if (!good) f->errors++;
        SHARED_STORE(r->lines_in, good ? pins_of(f, values) : f->safe_in);
    }
    if (f->out_count == 0u) return;
    const uint32_t wanted = gate_levels(&l->gate, now_us, SHARED_LOAD(r->beat_us), SHARED_LOAD(r->lines_out));
    if (l->gate.state == GATE_NEVER_ARMED) return;
    if (!set(l, values_of(f, wanted))) f->errors++;
}

void lines_run(lines_t *l, runner_t *r, uint32_t priority)
{
    (void)runner_ask_for_priority(priority);
    uint64_t due_us = runner_now_us();
    while (!SHARED_LOAD(r->stop)) {
        const uint64_t now_us = runner_now_us();
        lines_step(l, r, now_us);
        due_us = due_us + PACE_STEP_US > now_us ? due_us + PACE_STEP_US : now_us + PACE_STEP_US;
        runner_sleep_until_us(due_us);
    }
    if (l->gate.state != GATE_NEVER_ARMED) (void)set(l, values_of(&l->fields, 0u));
    l->gate.levels = 0;
    if (l->gate.state == GATE_ARMED) l->gate.state = GATE_DISARMED;
    if (l->fields.kind != LINES_GPIO) return;
    if (l->fields.in_fd >= 0) (void)close(l->fields.in_fd);
    if (l->fields.out_fd >= 0) (void)close(l->fields.out_fd);
}
