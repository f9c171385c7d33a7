/* The firmware on an MPS2 board (AN386, Cortex-M4F) behind the mailbox in its PSRAM. */
#include "board.h"
#include "target/mailbox.h"

#define BOX ((mailbox_t *)PSRAM)
#define WARNING_TICKS CLOCK_HZ /* as long again without the handler, and it bites: a busy host may stop the emulator for a tenth of that */
#define STRIKES 2u /* warnings in a row without an answer in between, before the watchdog may bite */
#define POLLS 20000u /* before it sleeps */
#define BELL UART(0u)
#define BELL_BAUD 1000000u

void watchdog_handler(void);
void fault_handler(void);

/* Nobody stands still who waits to be asked. Time on an emulated board follows the host's, which may stop the emulator at any moment:
 * one warning alone says nothing. */
void watchdog_handler(void)
{
    static uint32_t answered, strikes;
    strikes = answered == BOX->answered && BOX->asked != answered ? strikes + 1u : 0u;
    answered = BOX->answered;
    if (strikes < STRIKES) {
        watchdog_kick();
        return;
    }
    BOX->bite_pending = 1u;
    for (;;) { }
}

void fault_handler(void)
{
    BOX->faults++;
    for (;;) { }
}

static void boot(mailbox_t *m, ecu_t *state)
{
    ecu_boot_t b = {.now_us = m->now_us, .reset_cause = m->reset_cause, .config_size = m->config_size};
    for (uint32_t k = 0; k < sizeof b.entropy; ++k) b.entropy[k] = m->entropy[k];
    b.config = (const uint8_t *)PSRAM + MAILBOX_CONFIG;
    m->result = ecu_init(state, &b);
}

static void announce(mailbox_t *m)
{
    m->state_size = (uint32_t)ecu_size();
    m->in_size = (uint32_t)sizeof m->in;
    m->out_size = (uint32_t)sizeof m->out;
    m->bites += m->bite_pending;
    m->bite_pending = 0u;
    m->ready = MAILBOX_READY;
    BARRIER();
    m->boots++;
}

/* Until there is something to do, or some byte rings for nothing. */
static void sleep(mailbox_t *m, uint32_t seen)
{
    __asm volatile("cpsid i");
    m->target_sleeps = 1u;
    BARRIER();
    if (m->asked == seen) __asm volatile("wfi");
    m->target_sleeps = 0u;
    while (uart_take(BELL) >= 0) { }
    NVIC_FORGET = 1u;
}

static uint32_t wait_from(mailbox_t *m, uint32_t seen)
{
    while (m->asked == seen) {
        for (uint32_t polls = 0; m->asked == seen && polls < POLLS; ++polls) { }
        if (m->asked == seen) sleep(m, seen);
    }
    BARRIER();
    return m->asked;
}

int main(void)
{
    mailbox_t *const m = BOX;
    ecu_t *const state = (ecu_t *)((uint8_t *)PSRAM + MAILBOX_STATE);
    uint32_t seen = m->asked;
    uart_start(BELL, BELL_BAUD);
    NVIC_ENABLE = 1u; /* its reception; only wakes, for interrupts stay masked */
    announce(m);
    watchdog_start(WARNING_TICKS);
    for (;;) {
        seen = wait_from(m, seen);
        if (m->op == MAILBOX_RESET) board_reset();
        if (m->op == MAILBOX_BOOT) boot(m, state);
        if (m->op == MAILBOX_STEP) ecu_step(state, &m->in, &m->out);
        if (seen % 1024u == 0u) m->stack_used = stack_used();
        BARRIER();
        m->answered = seen;
        BARRIER();
        if (m->rig_sleeps != 0u) uart_put(BELL, 1u);
    }
}
