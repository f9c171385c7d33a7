/* Vectors and reset of a Cortex-M4F. Handlers spin: the watchdog then resets, and QEMU does not stop on a lockup. */
#include "board.h"

#define PAINT 0xC5C5C5C5u

extern uint32_t _stack_top, _stack_low, _data_from, _data_start, _data_end, _bss_start, _bss_end;
int main(void);
void reset_handler(void);
void spin(void);

void spin(void)
{
    for (;;) { }
}

/* An image may have its own. */
void watchdog_handler(void) __attribute__((weak, alias("spin")));
void fault_handler(void) __attribute__((weak, alias("spin")));

typedef void (*vector_t)(void);
__attribute__((section(".vectors"), used)) static const vector_t VECTORS[16] = {
    (vector_t)(uintptr_t)&_stack_top, reset_handler, watchdog_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    0, 0, 0, 0, spin, spin, 0, spin, spin,
};

uint32_t stack_used(void)
{
    const uint32_t *p = &_stack_low;
    while (p < &_stack_top && *p == PAINT) ++p;
    return (uint32_t)((const uint8_t *)&_stack_top - (const uint8_t *)p);
}

void reset_handler(void)
{
    const uint32_t *from = &_data_from;
    uint32_t here;
    CPACR |= 0xFu << 20; /* the floating-point unit, before any code uses it */
    __asm volatile("dsb\n isb");
    for (uint32_t *to = &_data_start; to < &_data_end; ++to) *to = *from++;
    for (uint32_t *to = &_bss_start; to < &_bss_end; ++to) *to = 0u;
    for (uint32_t *p = &_stack_low; p < &here - 16; ++p) *p = PAINT;
    (void)main();
    spin();
}
