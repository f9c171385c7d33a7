/* The socket: what every firmware fits and every rig plugs into. ABI 1.
 *
 * A firmware is five functions and one flat block of state. The rig calls ecu_step once per millisecond with one struct in and
 * takes one struct out. Nothing else joins firmware and world: bytes on serial lines, frames on CAN, levels on pins, pages of
 * non-volatile memory, and time. The same structs are the replay record and the microcontroller's mailbox.
 *
 * Rules
 *   - ecu_t is opaque and ecu_size() bytes long. It holds no pointers, so copying the bytes copies the firmware: that is how
 *     snapshots work. It is aligned to 16 bytes by the rig.
 *   - ecu_step cannot fail and never blocks. What goes wrong inside is told by CAN and ends in safe outputs (all zero).
 *   - Before ecu_init and whenever the rig gets no answer, all outputs are taken as zero: contactors open.
 *   - Given equal boot structs and equal inputs, outputs are equal bit for bit on every platform.
 *   - Times are microseconds since an arbitrary origin; they may start anywhere below 2^63, never run backwards, and consecutive
 *     steps are 1 ms apart unless the firmware asked to sleep.
 */
#ifndef BMS_ECU_H
#define BMS_ECU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ECU_ABI 1u

#define ECU_UART_COUNT 2u      /* lines to the cell-monitor chips; a long stack uses both */
#define ECU_UART_IN_MAX 128u   /* 1 ms of 1 Mbit/s 8N1 is 100 bytes */
#define ECU_UART_OUT_MAX 64u   /* commands are short; answers are long */
#define ECU_CAN_BUS_COUNT 2u   /* ECU_BUS_VEHICLE, ECU_BUS_SENSOR */
#define ECU_CAN_IN_MAX 24u     /* frames that can arrive in one step over all buses */
#define ECU_CAN_OUT_MAX 24u    /* frames that can leave in one step */
#define ECU_NVM_PAGE 64u       /* bytes programmed at once */
#define ECU_NVM_PAGES 256u     /* 16 KiB */

enum { ECU_BUS_VEHICLE = 0, ECU_BUS_SENSOR = 1 };

/* ecu_can_frame_t.flags */
#define ECU_CAN_EXTENDED 1u /* 29-bit identifier */
#define ECU_CAN_REMOTE 2u
#define ECU_CAN_FD 4u
#define ECU_CAN_BRS 8u
#define ECU_CAN_ERROR 16u /* error frame: data is meaningless */

typedef struct {
    uint32_t id;
    uint8_t bus, length, flags, reserved;
    uint8_t data[64];
} ecu_can_frame_t;

/* Digital levels, bit numbers. Generated names for the same bits are in generated/pins.h (from spec/pins.toml). */
typedef struct {
    uint32_t supply_mv; /* 12 V supply at the ECU's terminal */
    uint32_t digital;   /* ignition, interlock, crash, contactor feedbacks, over-current comparator, chip fault line */
} ecu_pins_in_t;

typedef struct {
    uint32_t digital;     /* contactor coils, fuse trigger */
    uint16_t heater_pptt; /* duty, 0 to 10000 */
    uint16_t pump_pptt;   /* coolant pump duty, 0 to 10000 */
} ecu_pins_out_t;

enum { ECU_NVM_NONE = 0, ECU_NVM_READ = 1, ECU_NVM_PROGRAM = 2, ECU_NVM_ERASE = 3 };
enum { ECU_NVM_OK = 0, ECU_NVM_FAILED = 1 };

/* One asynchronous operation at a time: the firmware puts it into ecu_out_t.nvm_want once, and finds the same op with status and
 * data in ecu_in_t.nvm_done in some later step. Erased bytes read 0xFF; program only clears bits. */
typedef struct {
    uint8_t op, status;
    uint16_t page;
    uint8_t data[ECU_NVM_PAGE];
} ecu_nvm_t;

enum { ECU_CAN_ACTIVE = 0, ECU_CAN_PASSIVE = 1, ECU_CAN_OFF = 2 };

typedef struct {
    uint64_t now_us;
    ecu_pins_in_t pins;
    uint16_t uart_count[ECU_UART_COUNT];                 /* bytes that arrived since the last step, complete at now_us */
    uint16_t uart_errors[ECU_UART_COUNT];                /* framing errors seen in the same span */
    uint8_t can_state[ECU_CAN_BUS_COUNT];                /* ECU_CAN_ACTIVE ... */
    uint16_t can_count;                                  /* frames that arrived, oldest first */
    uint8_t uart_bytes[ECU_UART_COUNT][ECU_UART_IN_MAX]; /* only the first uart_count bytes mean anything */
    ecu_can_frame_t can[ECU_CAN_IN_MAX];
    ecu_nvm_t nvm_done;
} ecu_in_t;

/* A wake pulse is the line held low for low_us before the bytes, if any, are sent at baud. */
typedef struct {
    uint32_t baud, low_us;
    uint16_t count;
    uint8_t bytes[ECU_UART_OUT_MAX];
} ecu_uart_out_t;

/* The rig zeroes counts, low_us, nvm_want.op and the flags before each step; a firmware only fills what it uses, but must set
 * pins every time (the rig zeroes them too). */
typedef struct {
    ecu_pins_out_t pins;
    bool watchdog_kick; /* absent for 100 ms: the rig resets the ECU */
    bool reset_wanted;
    uint16_t can_count;
    uint32_t sleep_ms; /* 0: call again in 1 ms; else the ECU may be left alone so long, or until a pin or a frame of the vehicle bus wakes it */
    ecu_uart_out_t uart[ECU_UART_COUNT];
    ecu_can_frame_t can[ECU_CAN_OUT_MAX];
    ecu_nvm_t nvm_want;
} ecu_out_t;

enum { ECU_RESET_POWER_ON = 0, ECU_RESET_WATCHDOG = 1, ECU_RESET_BROWN_OUT = 2, ECU_RESET_SOFTWARE = 3, ECU_RESET_WAKE = 4 };

typedef struct {
    uint64_t now_us;
    uint8_t reset_cause;
    uint8_t entropy[16]; /* for freshness values; all chance a firmware may use */
    const void *config;  /* of our firmware: a bms_config_t (bms.h). Another firmware may ignore it. Not kept: copy what you need */
    size_t config_size;
} ecu_boot_t;

typedef struct ecu ecu_t;

/* A read-only window into the state for recorder and screen. Verdicts never depend on it. */
typedef struct {
    const char *name, *unit;
    uint32_t offset, count; /* bytes into ecu_t; number of elements */
    uint8_t type;           /* 0 u8, 1 u16, 2 u32, 3 u64, 4 i16, 5 i32, 6 i64, 7 f32, 8 f64 */
} ecu_probe_t;

uint32_t ecu_abi(void);
const char *ecu_version(void);
size_t ecu_size(void);
/* 0, or a positive code that says why the configuration was refused (the firmware then keeps its outputs at zero). */
int ecu_init(ecu_t *self, const ecu_boot_t *boot);
void ecu_step(ecu_t *self, const ecu_in_t *in, ecu_out_t *out);
/* Optional: may be absent from a shared library. */
const ecu_probe_t *ecu_probes(size_t *count);

#ifdef __cplusplus
}
#endif
#endif
