/* Vectors and reset of a Cortex-M4F. Handlers spin: the watchdog of a real board then resets, and QEMU does not stop on a lockup. */
#include "board.h"

#include <stdint.h>

extern uint32_t _stack_top, _data_from, _data_start, _data_end, _bss_start, _bss_end;
int main(void);
void reset_handler(void);
void spin(void);

void spin(void)
{
    for (;;) { }
}

typedef void (*vector_t)(void);
__attribute__((section(".vectors"), used)) static const vector_t VECTORS[16] = {
    (vector_t)(uintptr_t)&_stack_top, reset_handler, spin, spin, spin, spin, spin, 0, 0, 0, 0, spin, spin, 0, spin, spin,
};

void reset_handler(void)
{
    const uint32_t *from = &_data_from;
    CPACR |= 0xFu << 20; /* the floating-point unit, before any code uses it */
    __asm volatile("dsb\n isb");
    for (uint32_t *to = &_data_start; to < &_data_end; ++to) *to = *from++;
    for (uint32_t *to = &_bss_start; to < &_bss_end; ++to) *to = 0u;
    (void)main();
    spin();
}
