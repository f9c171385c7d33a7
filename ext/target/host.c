/* The rig's side of the mailbox, as a shared library that fits ecu.h: to a rig the microcontroller looks like any firmware.
 *
 * One target a process, but any number of simulations with it: ecu_t is a copy of the firmware's memory, which is put into the
 * target where it differs. `target_attach` before anything else; `target_is_gone` becomes true when it does not answer in time, and
 * from then on every output is zero, which opens the contactors. A target that its own watchdog has reset says nothing more until
 * ecu_init, its pins as they were: the rig's watchdog then starts it, as it does any firmware that does not kick. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "target/mailbox.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 10.0
#define SPINS 20000u /* before it sleeps */
#define LOOK_MS 20   /* the longest sleep: a target that was reset rings nobody */

static mailbox_t *box;
static int bell = -1;
static bool is_gone;

/* Behind the copy of the firmware's memory. */
typedef struct {
    ecu_pins_out_t pins; /* as last driven */
    uint32_t stands;     /* the target was reset in the middle of a step */
    uint32_t reserved;
} tail_t;

typedef enum { ANSWERED, STANDS, GONE } reply_t;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Until the target rings, or for LOOK_MS; false when there is none any more. */
static bool sleep_until(const volatile uint32_t *word, uint32_t value)
{
    struct pollfd wanted = {bell, POLLIN, 0};
    uint8_t rung[16];
    __atomic_store_n(&box->rig_sleeps, 1u, __ATOMIC_SEQ_CST);
    if (*word != value) (void)poll(&wanted, 1, LOOK_MS);
    __atomic_store_n(&box->rig_sleeps, 0u, __ATOMIC_SEQ_CST);
    while (read(bell, rung, sizeof rung) > 0) { }
    return (wanted.revents & POLLHUP) == 0;
}

/* Until `word` is `value`, or else the target began anew: boots is then no longer this. */
static reply_t wait_for(const volatile uint32_t *word, uint32_t value, uint32_t boots)
{
    for (uint32_t spins = 0; *word != value && spins < SPINS; ++spins) { }
    const double end_s = *word != value ? now_s() + PATIENCE_S : 0.0;
    while (*word != value) {
        const bool is_there = sleep_until(word, value);
        if (*word == value) break;
        if (!is_there) return GONE;
        if (word != &box->boots && box->boots != boots) return STANDS;
        if (now_s() > end_s) return GONE;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return ANSWERED;
}

/* The memory the target shares, made before it starts, and the serial line on which both ring, not blocking. 0, or what is wrong:
 * 1 the file, 2 no answer, 3 other structs than ours. */
int target_attach(const char *path, int bell_fd)
{
    const int descriptor = open(path, O_RDWR);
    if (descriptor < 0) return 1;
    void *memory = mmap(NULL, MAILBOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory == MAP_FAILED) return 1;
    if (box) munmap(box, MAILBOX_BYTES);
    box = memory;
    bell = bell_fd;
    is_gone = false;
    if (wait_for(&box->boots, 1u, 0u) == GONE || box->ready != MAILBOX_READY) return 2;
    return box->in_size == sizeof box->in && box->out_size == sizeof box->out ? 0 : 3;
}

bool target_is_gone(void)
{
    return is_gone;
}

uint32_t target_state_size(void)
{
    return box->state_size;
}

uint32_t target_stack_used(void)
{
    return box->stack_used;
}

uint32_t target_boots(void)
{
    return box->boots;
}

uint32_t target_bites(void)
{
    return box->bites;
}

uint32_t target_faults(void)
{
    return box->faults;
}

static uint8_t *memory_of(void)
{
    return (uint8_t *)box + MAILBOX_STATE;
}

/* The firmware's memory as the target last left it. */
const uint8_t *target_state(void)
{
    return memory_of();
}

static reply_t ask(uint32_t op)
{
    if (!box || is_gone) return GONE;
    const uint32_t boots = box->boots, number = box->asked + 1u;
    box->op = op;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&box->asked, number, __ATOMIC_SEQ_CST);
    if (box->target_sleeps != 0u && write(bell, &op, 1) < 0) { } /* it is full: it will wake all the same */
    const reply_t reply = op == MAILBOX_RESET ? wait_for(&box->boots, boots + 1u, 0u) : wait_for(&box->answered, number, boots);
    is_gone = reply == GONE;
    return reply;
}

/* ---- ecu.h ---- */

static size_t copy_size(void)
{
    return box ? ((size_t)box->state_size + 15u) & ~(size_t)15u : 0u;
}

static tail_t *tail_of(ecu_t *self)
{
    return (tail_t *)(void *)((uint8_t *)self + copy_size());
}

uint32_t ecu_abi(void)
{
    return ECU_ABI;
}

const char *ecu_version(void)
{
    return "the microcontroller";
}

size_t ecu_size(void)
{
    return copy_size() + sizeof(tail_t);
}

/* The whole chip is reset: what its firmware needs is in its flash and in the boot struct, or missing. */
int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    if (!box || boot->config_size > MAILBOX_STATE - MAILBOX_CONFIG || ask(MAILBOX_RESET) == GONE) return 0x7FFF;
    memset(tail_of(self), 0, sizeof(tail_t));
    memcpy((uint8_t *)box + MAILBOX_CONFIG, boot->config, boot->config_size);
    memset(memory_of(), 0, box->state_size);
    memcpy(box->entropy, boot->entropy, sizeof box->entropy);
    box->config_size = (uint32_t)boot->config_size;
    box->now_us = boot->now_us;
    box->reset_cause = boot->reset_cause;
    if (ask(MAILBOX_BOOT) != ANSWERED) return 0x7FFF;
    memcpy(self, memory_of(), box->state_size);
    return box->result;
}

static void step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    tail_t *const tail = tail_of(self);
    if (memcmp(memory_of(), self, box->state_size) != 0) memcpy(memory_of(), self, box->state_size);
    memcpy(&box->in, in, sizeof *in);
    memcpy(&box->out, out, sizeof *out);
    const reply_t reply = ask(MAILBOX_STEP);
    if (reply == ANSWERED) {
        memcpy(out, &box->out, sizeof *out);
        memcpy(self, memory_of(), box->state_size);
        tail->pins = out->pins;
    }
    tail->stands = reply == STANDS;
}

void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    if (!box) return;
    if (tail_of(self)->stands == 0u && !is_gone) step(self, in, out);
    if (is_gone) memset(out, 0, sizeof *out);
    else if (tail_of(self)->stands != 0u) out->pins = tail_of(self)->pins;
}
