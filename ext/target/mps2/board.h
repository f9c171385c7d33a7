/* What an image needs to know of the MPS2 board with the AN386 image, as QEMU has it. */
#ifndef BMS_TARGET_BOARD_H
#define BMS_TARGET_BOARD_H

#include <stdint.h>

#define PSRAM 0x21000000u /* 16 MiB; QEMU's machine memory, which a host process may share */
#define CLOCK_HZ 25000000u
#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CPACR REGISTER(0xE000ED88u)
#define AIRCR REGISTER(0xE000ED0Cu)
#define AIRCR_RESET 0x05FA0004u
#define BARRIER() __asm volatile("dmb" ::: "memory")

/* The watchdog: a warning (NMI) after LOAD ticks, a reset after as many again unless it was cleared. */
#define WATCHDOG_LOAD REGISTER(0x40008000u)
#define WATCHDOG_CTRL REGISTER(0x40008008u)
#define WATCHDOG_CLEAR REGISTER(0x4000800Cu) /* any value: begins anew */
#define WATCHDOG_LOCK REGISTER(0x40008C00u)
#define WATCHDOG_KEY 0x1ACCE551u
#define WATCHDOG_ON 3u

static inline void watchdog_start(uint32_t ticks)
{
    WATCHDOG_LOCK = WATCHDOG_KEY;
    WATCHDOG_LOAD = ticks;
    WATCHDOG_CTRL = WATCHDOG_ON;
}

static inline void watchdog_kick(void) { WATCHDOG_CLEAR = 1u; }

static inline void board_reset(void)
{
    __asm volatile("dsb");
    AIRCR = AIRCR_RESET;
    for (;;) { }
}

/* Serial lines 0 to 4. No FIFO; a byte stays with the sender until the one before was read. */
typedef struct {
    volatile uint32_t data, state, ctrl, interrupts, divider;
} uart_t;

#define UART(n) ((uart_t *)((n) < 4u ? 0x40004000u + 0x1000u * (n) : 0x40009000u))
#define UART_TX_FULL 1u
#define UART_RX_FULL 2u
#define UART_RX_INTERRUPT 2u /* in ctrl 8 */
#define NVIC_ENABLE REGISTER(0xE000E100u)
#define NVIC_FORGET REGISTER(0xE000E280u)

#define UART_RX_IRQS 0x00040015u /* of lines 0 to 3 */
#define ICSR REGISTER(0xE000ED04u)
#define ICSR_TICK (1u << 26)
#define ICSR_TICK_TAKEN (1u << 25)

static inline void uart_start(uart_t *u, uint32_t baud)
{
    u->divider = CLOCK_HZ / baud;
    u->ctrl = 1u | 2u | 8u;
    (void)u->data; /* QEMU: a line that was refused while reception was off begins again only now */
}

/* The next byte, or -1. */
static inline int32_t uart_take(uart_t *u)
{
    if ((u->state & UART_RX_FULL) == 0u) return -1;
    u->interrupts = UART_RX_INTERRUPT; /* first: reading lets the next byte in */
    return (int32_t)(u->data & 0xFFu);
}

static inline void uart_put(uart_t *u, uint8_t byte)
{
    while ((u->state & UART_TX_FULL) != 0u) { }
    u->data = byte;
}

/* Bytes of stack ever used: below them the paint of reset is still whole. */
uint32_t stack_used(void);

#endif
