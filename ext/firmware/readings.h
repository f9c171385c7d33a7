/* State of what reads: the driver of the chips, the readings it makes, the sensors on CAN, the count of charge. Sizes are those of bms.h,
 * which includes this. */
#ifndef BMS_READINGS_H
#define BMS_READINGS_H

#include "ecu.h"

enum { AFE_WAKE, AFE_WAKE_STACK, AFE_ADDRESS, AFE_IDENTIFY, AFE_CONFIGURE, AFE_RUN, AFE_SLEEP, AFE_MEND };
enum { AFE_ASK_NOTHING, AFE_ASK_IDENTITY, AFE_ASK_CELLS, AFE_ASK_GPIO, AFE_ASK_MODULE, AFE_ASK_STATUS, AFE_ASK_CONFIG,
       AFE_ASK_PROBE };

typedef struct {
    uint8_t phase, step;     /* AFE_WAKE ..., and the place within it */
    uint8_t asked;           /* AFE_ASK_..., the question that waits for its answer */
    uint8_t failed_scans;    /* cell scans in a row with a chip missing */
    uint8_t bleed_next;      /* chip whose switches are looked at next */
    uint8_t bleed_part;      /* half of a chip's switches that is written next; 2: go */
    uint16_t expect_register, expect_bytes;
    uint16_t rx_count;
    uint32_t answered;       /* chips that answered the question, one bit each */
    uint32_t all_chips;      /* the same, all */
    uint64_t wait_us;        /* nothing is sent before */
    uint64_t deadline_us;    /* of the answer */
    uint64_t asked_us;       /* when the question was sent */
    uint64_t cells_us, gpio_us, module_us, status_us, config_us; /* when each is asked next */
    uint32_t scan_period_us;
    uint32_t frames, crc_errors, skipped_bytes, timeouts, restarts; /* only rise */
    uint8_t pause_wanted, pause_set; /* all switches rest, timers too */
    uint32_t config_reads;    /* times all chips were found configured, since they were */
    uint16_t bleed_wanted[BMS_MODULES_MAX], bleed_set[BMS_MODULES_MAX]; /* channels, one bit each */
    uint64_t bleed_us[BMS_MODULES_MAX];   /* when the switches were written last: their timers run out */
    uint64_t heard_us[BMS_MODULES_MAX];   /* when an answer proved that the chip had got what was written */
    uint8_t unheard[BMS_MODULES_MAX];     /* nothing has proved it yet */
    uint8_t fault_summary[BMS_MODULES_MAX];
    uint8_t adc_stopped[BMS_MODULES_MAX]; /* the chip says that its converter does not run: its readings are old */
    uint8_t config_wrong[BMS_MODULES_MAX];
    uint8_t order_wrong[BMS_MODULES_MAX];
    uint8_t alarm_was, config_bad, reserved2[6]; /* config_bad: one of config_wrong was found, and nothing done yet */
    uint64_t alarm_us;                    /* the fault line rose, or faults were cleared */
    uint8_t config_failures, identity_failures, clear_faults, reserved;
    /* the chain, see chain.h */
    uint32_t near_chips, far_chips;       /* reached from below, and through the base's second port, one bit each */
    uint32_t probe_bit;                   /* the chip a question of the search goes to */
    uint8_t turned, base_address, far_base; /* the base talks through its second port; its address there */
    uint8_t part, part_is_due;            /* half of an open ring that answers, or is to be asked next */
    uint8_t is_silent;                    /* of the chips asked last none answered */
    uint8_t gap;                          /* k > 0: the ring is open between chips k - 1 and k */
    uint8_t mend, mend_from, mend_gap;    /* stage of finding and turning, the phase before it, the gap found */
    int8_t probe_known;                   /* last place that answers, -1 none yet */
    uint8_t probe_silent, probe_at, probe_again, reserved3[2];
    uint8_t rx[ECU_UART_IN_MAX + 160u];
} afe_t;

typedef struct {
    /* one scan of all cells */
    uint32_t scan;                  /* completed scans */
    uint64_t scan_us;
    uint32_t cells_unknown;         /* in the last scan */
    int32_t cell_min_uv, cell_max_uv; /* over the valid ones; BMS_UNKNOWN without any */
    int64_t cell_sum_uv;            /* BMS_UNKNOWN unless all are valid */
    int32_t cell_uv[BMS_CELLS_MAX];
    uint32_t cell_valid[BMS_CELLS_MAX]; /* all ones: fresh in the last scan */
    uint32_t cell_rested[BMS_CELLS_MAX]; /* as valid, and not disturbed by bleeding: for the estimator */
    int32_t told_uv[BMS_CELLS_MAX];    /* for reports: as cell_uv, but not taken while a chip bled */
    int32_t told_min_uv, told_max_uv;  /* over the valid ones */
    uint64_t told_us[BMS_MODULES_MAX]; /* when each chip's were taken */
    uint32_t module_scan;              /* scans done when the modules' voltages were read */
    uint8_t module_taken, module_valid[BMS_MODULES_MAX];
    int32_t module_uv[BMS_MODULES_MAX]; /* a chip's own reading of its whole module */
    uint64_t chip_us[BMS_MODULES_MAX];  /* last cell reading of each chip */
    uint32_t chip_scan[BMS_MODULES_MAX]; /* scan it belonged to */
    uint8_t chip_pulled[BMS_MODULES_MAX]; /* it was taken while switches pulled, or might have */
    uint16_t chip_crc[BMS_MODULES_MAX]; /* of its last frame: equal means equal readings */
    uint16_t chip_same[BMS_MODULES_MAX]; /* frames in a row with equal readings */
    int32_t chip_same_ma[BMS_MODULES_MAX]; /* current when they began to be equal */
    /* temperature and pressure, every 100 ms */
    uint32_t gpio_scan;
    uint32_t temperatures_unknown, pressures_unknown;
    int32_t temperature_min_cdegc, temperature_max_cdegc, temperature_mean_cdegc, temperature_rate_cdegc; /* BMS_UNKNOWN */
    int32_t temperature_low_cdegc, temperature_high_cdegc; /* the same extremes, lost thermistors with their last value: for limits */
    int32_t pressure_min_kpa, pressure_max_kpa, pressure_rise_kpa; /* BMS_UNKNOWN; rise within the last one to two seconds */
    uint16_t temperature_min_at, temperature_max_at, pressure_min_at, pressure_max_at;
    uint16_t cell_min_at, cell_max_at; /* as found for found_scan */
    uint32_t found_scan;
    uint32_t gpio_answered;             /* chips heard in this scan */
    int32_t sensor_cdegc[BMS_SENSORS_MAX]; /* thermistors * module + place */
    int32_t sensor_old_cdegc[BMS_SENSORS_MAX]; /* of the last rate sample */
    int16_t sensor_rise[BMS_SENSORS_MAX]; /* centidegC / 16 a period, mean of the last few it was known; what of it is believed since */
    uint8_t sensor_valid[BMS_SENSORS_MAX], sensor_met[BMS_SENSORS_MAX]; /* now; ever */
    int32_t pressure_kpa[BMS_MODULES_MAX], pressure_old_kpa[BMS_MODULES_MAX], pressure_older_kpa[BMS_MODULES_MAX];
    int32_t temperature_module_unknown; /* most unknown thermistors in one module */
    uint32_t pressure_rise_at;
    uint8_t pressure_valid[BMS_MODULES_MAX];
    uint64_t rate_us;
    int32_t block_cdegc[BMS_CELLS_MAX]; /* between thermistors; the last known where a module has none valid */
} measure_t;

typedef struct {
    int32_t value;
    uint32_t seq;      /* readings so far; a reading is fresh once */
    uint64_t us;       /* of the last good one */
    uint8_t valid, counter, seen, reserved[5];
} reading_t;

typedef struct {
    reading_t current_ma, pack_mv, link_mv, insulation_kohm;
    uint32_t rejected;      /* frames with wrong length, counter or error flags */
    uint8_t insulation_fault, jumps, last_step, reserved; /* jumps: of the current's counter, fading */
} sensor_t;

typedef struct {
    int64_t used_uc;          /* left the pack since start, less what came back */
    uint64_t out_uc, in_uc;   /* counters that only rise */
    int64_t carry;            /* parts of a microcoulomb */
    uint64_t started;
    uint64_t last_us;
} charge_t;

#endif
