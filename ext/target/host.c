/* The rig's side of the mailbox, as a shared library that fits ecu.h: to a rig the microcontroller looks like any firmware.
 *
 * One target a process. `target_attach` before anything else; `target_is_gone` becomes true when it does not answer in time, and
 * from then on every output is zero, which opens the contactors. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "target/mailbox.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 10.0
#define SPINS 4000u

static mailbox_t *box;
static bool is_gone;

struct ecu {
    uint64_t steps;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool wait_for(const volatile uint32_t *word, uint32_t value)
{
    double end_s = 0.0;
    for (uint32_t spins = 0; *word != value; ++spins) {
        if (spins < SPINS) continue;
        if (end_s <= 0.0) end_s = now_s() + PATIENCE_S;
        else if (now_s() > end_s) return false;
        sched_yield();
        spins = SPINS / 2u;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return true;
}

/* The memory the target shares, made before it starts. 0, or what is wrong: 1 the file, 2 no answer, 3 other structs than ours. */
int target_attach(const char *path)
{
    const int descriptor = open(path, O_RDWR);
    if (descriptor < 0) return 1;
    void *memory = mmap(NULL, MAILBOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory == MAP_FAILED) return 1;
    if (box) munmap(box, MAILBOX_BYTES);
    box = memory;
    is_gone = false;
    if (!wait_for(&box->ready, MAILBOX_READY)) return 2;
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

/* The firmware's memory, for faults and comparisons. */
uint8_t *target_state(void)
{
    return (uint8_t *)box + MAILBOX_STATE;
}

static bool ask(uint32_t op)
{
    if (!box || is_gone) return false;
    box->op = op;
    const uint32_t number = box->asked + 1u;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    box->asked = number;
    is_gone = !wait_for(&box->answered, number);
    return !is_gone;
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
    return sizeof(struct ecu);
}

int ecu_init(ecu_t *self, const ecu_boot_t *boot)
{
    self->steps = 0;
    if (!box || boot->config_size > MAILBOX_STATE - MAILBOX_CONFIG) return 0x7FFF;
    memcpy((uint8_t *)box + MAILBOX_CONFIG, boot->config, boot->config_size);
    memset((uint8_t *)box + MAILBOX_STATE, 0, box->state_size);
    memcpy(box->entropy, boot->entropy, sizeof box->entropy);
    box->config_size = (uint32_t)boot->config_size;
    box->now_us = boot->now_us;
    box->reset_cause = boot->reset_cause;
    return ask(MAILBOX_BOOT) ? box->result : 0x7FFF;
}

void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out)
{
    ++self->steps;
    if (!box) return;
    memcpy(&box->in, in, sizeof *in);
    memcpy(&box->out, out, sizeof *out);
    if (ask(MAILBOX_STEP)) memcpy(out, &box->out, sizeof *out);
    else memset(out, 0, sizeof *out);
}
