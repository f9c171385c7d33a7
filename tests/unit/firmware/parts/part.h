/* Unit tests of the firmware in C, beside those in Python: for what only a damaged state, a reading that no chip gives, or one of many
 * conditions alone brings about. NAME.c includes ext/firmware/NAME.c, so that functions of that file can be called one by one.
 *
 * A claim is a function; each runs in a process of its own, on copies of a firmware in operation (snapshots.py). */
#ifndef PART_H
#define PART_H

#include "bms.h"

typedef void (*claim_t)(void);
void part_add(const char *name, claim_t claim);
void part_broken(const char *what, const char *file, int line);

/* The state of a firmware at this moment: "standby", "drive". Each call gives a fresh copy. */
bms_t *part_pack(const char *moment);
/* A millisecond without any input; what came out stays until the next. */
const ecu_out_t *part_step(bms_t *self);

#define CLAIM(name)                                                                   \
    static void name(void);                                                           \
    __attribute__((constructor)) static void add_##name(void) { part_add(#name, name); } \
    static void name(void)

#define HOLDS(x)                                           \
    do {                                                   \
        if (!(x)) part_broken(#x, __FILE__, __LINE__);     \
    } while (0)

#endif
