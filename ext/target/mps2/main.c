/* The firmware on an MPS2 board (AN386, Cortex-M4F) behind the mailbox in its PSRAM. */
#include "board.h"
#include "target/mailbox.h"

#define PAINT 0xC5C5C5C5u

extern uint32_t _stack_low, _stack_top;

/* Bytes of stack ever used: below them the paint is still whole. */
static uint32_t stack_used(void)
{
    const uint32_t *p = &_stack_low;
    while (p < &_stack_top && *p == PAINT) ++p;
    return (uint32_t)((const uint8_t *)&_stack_top - (const uint8_t *)p);
}

static void paint_stack(void)
{
    uint32_t here;
    for (uint32_t *p = &_stack_low; p < &here - 16; ++p) *p = PAINT;
}

static void boot(mailbox_t *m, ecu_t *state)
{
    ecu_boot_t b = {.now_us = m->now_us, .reset_cause = m->reset_cause, .config_size = m->config_size};
    for (uint32_t k = 0; k < sizeof b.entropy; ++k) b.entropy[k] = m->entropy[k];
    b.config = (const uint8_t *)PSRAM + MAILBOX_CONFIG;
    m->result = ecu_init(state, &b);
}

int main(void)
{
    mailbox_t *const m = (mailbox_t *)PSRAM;
    ecu_t *const state = (ecu_t *)((uint8_t *)PSRAM + MAILBOX_STATE);
    paint_stack();
    m->state_size = (uint32_t)ecu_size();
    m->in_size = (uint32_t)sizeof m->in;
    m->out_size = (uint32_t)sizeof m->out;
    m->answered = m->asked;
    BARRIER();
    m->ready = MAILBOX_READY;
    uint32_t seen = m->asked;
    for (;;) {
        while (m->asked == seen) { }
        seen = m->asked;
        BARRIER();
        if (m->op == MAILBOX_BOOT) boot(m, state);
        if (m->op == MAILBOX_STEP) ecu_step(state, &m->in, &m->out);
        if (seen % 1024u == 0u) m->stack_used = stack_used();
        BARRIER();
        m->answered = seen;
    }
}
