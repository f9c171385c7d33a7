/* A stack of BQ79616 battery monitors as seen from the host's serial line: bytes and low pulses in, bytes out, and a balancing
 * current that really flows. Chip 0 is the base device at the bottom; chip k reads the blocks of module k.
 *
 * One file per job: line.c paces bytes and recognises pings, frame.c takes commands and gives answers, registers.c holds the
 * register file and what writing does, adc.c turns volts into counts, balance.c drives the balancing FETs, faults.c compares and
 * collects faults, chips.c wakes, resets and keeps time. Register names, addresses and bits follow TI SLUSE81.
 *
 * Conversions are lazy: while the main ADC runs continuously, a result is computed when it is read, from the view of that
 * millisecond; its noise depends only on (key, chip, number of the round robin), so what is read never changes what comes later.
 */
#ifndef BMS_CHIPS_H
#define BMS_CHIPS_H

#include "ecu.h"
#include "field.h"

#define CHIPS_MAX 32u
#define CHIPS_CHANNELS 16u
#define CHIPS_SLOTS (CHIPS_MAX * CHIPS_CHANNELS) /* channel c of chip m lives at m * 16 + c */
#define CHIPS_BLOCKS_MAX 400u
#define CHIPS_THERMISTORS 6u                  /* GPIO1 to GPIO6 */
#define CHIPS_REGISTERS 512u                  /* bytes kept per chip, four banks, see registers.c */
#define CHIPS_ANSWER_MAX (CHIPS_MAX * 134u)   /* everybody answers 128 bytes */
#define CHIPS_QUEUE_MAX 128u
#define CHIPS_NTC_MIN_DEGC (-60)
#define CHIPS_NTC_POINTS 311u                 /* one a degree, to 250 degC */

enum { CHIP_SHUTDOWN = 0, CHIP_SLEEP = 1, CHIP_ACTIVE = 2 };

typedef struct {
    const double *block_voltage_v, *cell_surface_degc, *module_pressure_kpa;
    double ambient_degc;
} chips_view_t;

#define CHIPS_FIELDS(S, A) \
    /* the line */ \
    S(u64, service_us, "us", "when timers, comparators and balancing are looked at next") \
    S(u64, serviced_us, "us", "when they were looked at last") \
    S(u64, host_time_us, "us", "the host's line is busy until then") \
    S(u64, answer_time_us, "us", "the next answer byte starts then") \
    S(u32, host_count, "1", "host items waiting because they end after this millisecond") \
    S(u32, answer_next, "1", "next answer byte to leave") \
    S(u32, answer_count, "1", "answer bytes still to leave") \
    S(u32, command_count, "1", "bytes of the command received so far") \
    S(u32, command_need, "1", "bytes the command will have") \
    S(u32, line_is_deaf, "bool", "a byte error was seen: everything is ignored until a communication clear") \
    A(u8, command, 16, "1", "command being received") \
    A(u32, host_queue, CHIPS_QUEUE_MAX, "1", "waiting host items: low 8 bits byte, bit 8 framing error, bit 9 pulse, above us") \
    /* parameters of the stack */ \
    S(u32, chip_count, "1", "chips in the stack, base included") \
    S(u32, block_count, "1", "blocks in series") \
    S(u32, blocks_per_module, "1", "blocks read by one chip, at most 16") \
    S(u32, ring_is_closed, "bool", "a cable joins the top of the stack to the base, so commands can go the other way round") \
    S(u32, pressure_is_fitted, "bool", "a stack-pressure sensor hangs on GPIO7") \
    S(u32, wake_settle_us, "us", "from the end of a wake ping or tone to communication; up to 10 ms in the datasheet") \
    S(u32, wake_forward_us, "us", "a chip passes the wake tone on after this; 1.6 ms a device in the datasheet") \
    S(u32, turnaround_us, "us", "from the end of a command to the first answer bit") \
    S(u32, hop_us, "us", "delay of the daisy chain for each chip") \
    S(f64, bleed_ohm, "ohm", "balancing resistance of a channel") \
    S(f64, sense_wire_ohm, "ohm", "resistance of one sense wire, shared by measuring and balancing pins") \
    S(f64, temperature_noise_k, "K", "sigma of each thermistor conversion") \
    S(f64, pressure_noise_kpa, "kPa", "sigma of each pressure conversion") \
    S(f64, pressure_full_scale_kpa, "kPa", "pressure at 0.9 of TSREF; 0 kPa is 0.1 of TSREF") \
    S(u64, noise_key, "1", "Philox key of all conversion noise") \
    A(f64, cell_gain_frac, CHIPS_SLOTS, "1", "gain error of each cell channel") \
    A(f64, cell_offset_v, CHIPS_SLOTS, "V", "offset of each cell channel") \
    A(f64, cell_noise_v, CHIPS_SLOTS, "V", "sigma of each conversion of a cell channel") \
    A(f64, temperature_offset_k, CHIPS_MAX * CHIPS_THERMISTORS, "K", "error of each thermistor") \
    A(f64, pressure_offset_kpa, CHIPS_MAX, "kPa", "error of each pressure sensor") \
    A(f64, tsref_v, CHIPS_MAX, "V", "true reference of thermistors and pressure sensor, nominally 5 V") \
    A(f64, ntc_ratio, CHIPS_NTC_POINTS, "1", "NTC / (NTC + pull-up) from -60 to 250 degC, one a degree") \
    A(i16, thermistor_block, CHIPS_MAX * CHIPS_THERMISTORS, "1", "block whose first cell carries it; -1 not fitted") \
    A(u32, serial, CHIPS_MAX, "1", "first four bytes of the die identity") \
    /* what can be broken */ \
    A(u8, chip_dead, CHIPS_MAX, "bool", "no supply: neither answers nor forwards") \
    A(u8, mute, CHIPS_MAX, "bool", "forwards, but its own answer is missing") \
    A(u8, frozen, CHIPS_MAX, "bool", "conversions stopped, old results are still sent") \
    A(u8, blank, CHIPS_MAX, "bool", "answers FF in every data byte with a right CRC") \
    A(u8, brown_out, CHIPS_MAX, "bool", "set to reset the chip once: address lost, DRST set; clears itself") \
    A(u32, crc_corrupt, CHIPS_MAX, "1", "this many next answers of the chip get a wrong CRC; all ones for ever") \
    A(u32, open_wire, CHIPS_MAX, "bits", "bit w: sense wire w is open; wire w joins channels w - 1 and w") \
    A(u16, fet_stuck_on, CHIPS_MAX, "bits", "balancing FETs that cannot open") \
    A(u16, fet_stuck_off, CHIPS_MAX, "bits", "balancing FETs that cannot close") \
    A(u8, thermistor_broken, CHIPS_MAX * CHIPS_THERMISTORS, "enum", "1 open, 2 shorted to ground, 3 detached: reads the air") \
    A(u8, pressure_broken, CHIPS_MAX, "enum", "1 wire lost, 2 stands still from now on, 3 stands still") \
    A(f64, pressure_held_kpa, CHIPS_MAX, "kPa", "where it stands still") \
    A(u8, channels_swapped, CHIPS_MAX, "1", "k > 0: the sense wires of channels k - 1 and k are exchanged") \
    S(u32, modules_swapped, "1", "k > 0: the modules of chips k - 1 and k are exchanged") \
    S(u32, chain_cut_at, "1", "k > 0: the cable between chips k - 1 and k is cut; as many as chips: that from the top to the base") \
    S(u32, chain_cut_also, "1", "a second cut, likewise") \
    S(u32, cut_answers, "bool", "chips answer without a top of stack above them; silicon waits for ever") \
    S(u32, wake_stops_at, "1", "k > 0: the wake tone never reaches chip k") \
    S(u32, late_ms, "ms", "answers start so much later") \
    S(u32, drop_bytes, "1", "this many next answer bytes are lost") \
    /* state of each chip */ \
    A(u8, mode, CHIPS_MAX, "enum", "0 shutdown, 1 sleep, 2 active") \
    A(u8, is_addressed, CHIPS_MAX, "bool", "took an address since its reset; reads are ignored before") \
    A(u64, ready_us, CHIPS_MAX, "us", "settled after waking") \
    A(u64, heard_us, CHIPS_MAX, "us", "last valid frame") \
    A(u8, adc_mode, CHIPS_MAX, "enum", "0 stopped, 1 eight round robins, 2 continuous") \
    A(u64, adc_start_us, CHIPS_MAX, "us", "start of the first round robin") \
    A(u8, ovuv_runs, CHIPS_MAX, "bool", "voltage comparators run") \
    A(u8, otut_runs, CHIPS_MAX, "bool", "temperature comparators run") \
    A(u8, balance_conf, CHIPS_MAX, "1", "BAL_CTRL2 as sampled by BAL_GO") \
    A(u8, balance_done_code, CHIPS_MAX, "1", "VCB_DONE_THRESH as sampled by BAL_GO") \
    A(u16, balance_channels, CHIPS_MAX, "bits", "channels whose timer runs") \
    A(u32, balance_duty_ms, CHIPS_MAX, "ms", "odd/even period of automatic balancing") \
    A(u32, balance_phase_ms, CHIPS_MAX, "ms", "time into two such periods") \
    A(u32, balance_left_ms, CHIPS_SLOTS, "ms", "balancing time left") \
    A(u16, fet_on, CHIPS_MAX, "bits", "balancing FETs that conduct") \
    A(u16, bleed_mask, CHIPS_MAX, "bits", "channels through which balancing current flows") \
    A(u8, registers, CHIPS_MAX * CHIPS_REGISTERS, "1", "register file, banks 000, 780, 300, 500") \
    A(u8, answer, CHIPS_ANSWER_MAX, "1", "answer on its way") \
    /* what the rest of the world sees */ \
    A(u8, bleed_on, CHIPS_BLOCKS_MAX, "bool", "balancing current flows in this block") \
    S(u32, fault_line, "bool", "NFAULT of the base device is active") \
    S(u64, conversions, "1", "cell conversions delivered") \
    S(u64, bytes_in, "1", "bytes the host sent") \
    S(u64, bytes_out, "1", "bytes delivered to the host") \
    S(u64, commands, "1", "valid commands") \
    S(u64, crc_errors, "1", "commands refused for their CRC") \
    S(u64, byte_errors, "1", "bytes refused: framing, reserved command, or deaf line") \
    S(u64, answers_cut, "1", "answers cut short by a new command") \
    S(u64, bytes_lost, "1", "host bytes beyond the queue")

FIELD_STRUCT(chips_t, CHIPS_FIELDS);
extern const field_t chips_fields[];
extern const size_t chips_field_count;

/* Parameters are kept, state is set to a stack that has just got its supply: every chip in shutdown. */
void chips_init(chips_t *c);

/* One millisecond [now_us, now_us + 1000) of the UART line, half duplex, paced at its baud rate: the host's bytes (or wake pulse)
 * enter, answers leave. Bytes whose last bit ends inside this millisecond go to to_host. */
void chips_exchange(chips_t *c, uint64_t now_us, const chips_view_t *view, const ecu_uart_out_t *host,
                    uint8_t to_host[ECU_UART_IN_MAX], uint16_t *to_host_count);

/* A register of one chip written past the line, as a debug probe on the board would: with all that a written register sets off.
 * false when there is no such chip, or nothing that can be written at this address. */
bool chips_write(chips_t *c, uint64_t now_us, const chips_view_t *view, uint32_t chip, uint32_t address, uint8_t value);

#endif
