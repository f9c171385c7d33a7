/* The plant: what is true. Cells, heat, stack pressure, contactors, link, load. Positive current discharges.
 *
 * Equations, for one cell; z state of charge, i current in A, T temperature, units as in the names
 *   terminal voltage   V  = U(z) + (T - T0) dU/dT(z) - M h - v1 - v2 - R0 i
 *   charge             dz/dt = -i / Q                                   Q in ampere seconds
 *   two RC elements    C dv/dt = i - v / R(T)      C constant, so R C slows down in the cold; implicit midpoint rule
 *   hysteresis         dh = (sign(i) - h) |dz| / z_h                     -1 <= h <= 1
 *   resistance         R0 = R_electrolyte f_e(T) + (R_contact f_c(T) p(P) + R_interphase) / (contact area)
 *                      p = (P / P_ref)^exponent, exponent about -0.5 (arXiv 2501.00600); contact area = 1 - voids - aged loss
 *   heat, own terms    i^2 R0 + v1^2/R1 + v2^2/R2 + M h i - i T dU/dT + leaks + reactions; never a remainder
 *   two thermal nodes  core <-> surface <-> {neighbours, plate, ambient}; plate <-> coolant <-> ambient; explicit midpoint rule
 *   stack pressure     P = P0 + k mean(anode and cathode um/Ah * charge + um/K (T - 25 degC)) - creep + gas      one a module
 *   voids              grow with stripping current density beyond the critical one, heal, a share stays
 *   soft short         hazard(overload^shape) beyond the critical plating current density; conducts between the terminals
 *   ageing             sqrt(time) interphase and calendar loss, loss of capacity and of contact with throughput
 *   runaway            two lumped Arrhenius reactions and an internal short; credible to the first minute
 * Parallel cells share one voltage: V_b = (sum g E - i) / (sum g + g_bleed + g_short), i_c = g_c (E_c - V_b), exact, no iteration.
 * Enthalpy of a cell is Q * integral of (U - T0 dU/dT) dz, which with the heat terms above closes the energy balance at the pack's
 * terminals: stored + RC + terminal + bled + heat carried off + heat stored = constant.
 *
 * Multi-rate: currents, fast RC, contactors and link every step (1 ms; tenths of it while a contact moves, the precharge conducts or
 * the fuse heats), all else every tenth step. In a tick the slow electromotive force of a cell is a tangent in the charge moved.
 * Index of a cell is k * blocks + b: the k-th of the parallel cells of all blocks lie side by side.
 */
#ifndef BMS_PLANT_H
#define BMS_PLANT_H

#include "field.h"

#define PLANT_BLOCKS_MAX 400
#define PLANT_CELLS_MAX 1200
#define PLANT_MODULES_MAX 32
#define PLANT_SOC_POINTS 257         /* uniform grid over 0 .. 1 */
#define PLANT_TEMPERATURE_POINTS 105 /* uniform grid, -60 .. 200 degC by 2.5 K */
#define PLANT_TEMPERATURE_LOW_DEGC (-60.0)
#define PLANT_TEMPERATURE_STEP_K 2.5
#define PLANT_PRESSURE_POINTS 257 /* uniform grid over 0 .. pressure_max_kpa */

enum { PLANT_LOAD_OPEN = 0, PLANT_LOAD_CURRENT = 1, PLANT_LOAD_POWER = 2, PLANT_LOAD_CHARGER = 3 };
enum { PLANT_MAIN_PLUS = 1, PLANT_MAIN_MINUS = 2, PLANT_PRECHARGE = 4 };

/* What the loop or a scenario writes. */
#define PLANT_INPUTS(S, A)                                                                                                       \
    S(u32, coil_command, "1", "coils driven: bit 0 main plus, 1 main minus, 2 precharge")                                         \
    S(u32, fuse_trigger, "1", "1 blows the fuse on command")                                                                      \
    S(u32, load_mode, "1", "PLANT_LOAD_: 0 open, 1 current, 2 power, 3 charger")                                                  \
    S(f64, load_current_a, "A", "current of the load behind the contactors, positive discharges")                                 \
    S(f64, load_power_w, "W", "power of the load, positive discharges")                                                           \
    S(f64, charger_current_a, "A", "charger: magnitude of its current")                                                           \
    S(f64, charger_voltage_v, "V", "charger: voltage it does not exceed")                                                         \
    S(f64, heater_frac, "1", "duty of the heater in the plate")                                                                   \
    S(f64, pump_frac, "1", "duty of the coolant pump")                                                                            \
    S(f64, ambient_degc, "degC", "air round the pack and radiator")                                                               \
    A(u8, bleed_on, PLANT_BLOCKS_MAX, "1", "balancing resistor across the block conducts")                                        \
    S(u32, contactor_weld, "1", "bits of contactors that no longer open")                                                         \
    S(u32, contactor_stuck, "1", "bits of contactors that no longer close")                                                       \
    S(u32, pump_failed, "1", "1: coolant stands whatever the duty")                                                               \
    S(u32, heater_stuck, "1", "1: heater on whatever the duty")                                                                   \
    S(f64, link_short_siemens, "S", "short across the link, behind the contactors")                                               \
    A(f64, cell_short_siemens, PLANT_CELLS_MAX, "S", "internal short between the terminals of a cell")                            \
    A(f64, cell_bias_v, PLANT_CELLS_MAX, "V", "added to the electromotive force of a cell; a source outside the balance of energy")    \
    A(f64, cell_heat_w, PLANT_CELLS_MAX, "W", "heat forced into a cell's core from outside")                                      \
    S(f64, insulation_plus_kohm, "kohm", "positive pole to chassis")                                                              \
    S(f64, insulation_minus_kohm, "kohm", "negative pole to chassis")

/* What build.py fills in once. */
#define PLANT_PARAMETERS(S, A)                                                                                                   \
    S(u32, blocks, "1", "blocks in series")                                                                                       \
    S(u32, parallel, "1", "cells in a block")                                                                                     \
    S(u32, blocks_per_module, "1", "blocks in a module")                                                                          \
    S(u32, modules, "1", "modules")                                                                                               \
    S(u32, isa, "1", "0 baseline instructions, 1 AVX2, 2 AVX-512; the results are the same")                                      \
    S(u32, step_us, "us", "length of a step; 1000 but in convergence tests")                                                      \
    S(u64, short_key, "1", "key of the random stream of soft shorts")                                                             \
    A(f64, ocv_v, PLANT_SOC_POINTS, "V", "open-circuit voltage at 25 degC over SoC")                                              \
    A(f64, entropic_v_per_k, PLANT_SOC_POINTS, "V/K", "dU/dT over SoC")                                                           \
    A(f64, electrolyte_law, PLANT_TEMPERATURE_POINTS, "1", "electrolyte resistance over temperature, 1 at 25 degC")               \
    A(f64, contact_law, PLANT_TEMPERATURE_POINTS, "1", "contact resistance over temperature")                                     \
    A(f64, transfer_law, PLANT_TEMPERATURE_POINTS, "1", "charge-transfer resistance over temperature")                            \
    A(f64, diffusion_law, PLANT_TEMPERATURE_POINTS, "1", "diffusion resistance over temperature")                                 \
    A(f64, critical_law, PLANT_TEMPERATURE_POINTS, "1", "critical current density over temperature")                              \
    A(f64, leak_law, PLANT_TEMPERATURE_POINTS, "1", "self-discharge over temperature")                                            \
    A(f64, interphase_law, PLANT_TEMPERATURE_POINTS, "1", "interphase growth (of resistance per sqrt s) over temperature")        \
    S(f64, pressure_max_kpa, "kPa", "end of the two pressure tables and ceiling of the fixture")                                  \
    A(f64, pressure_contact, PLANT_PRESSURE_POINTS, "1", "contact resistance over pressure, 1 at the reference")                  \
    A(f64, pressure_critical, PLANT_PRESSURE_POINTS, "1", "critical current density over pressure")                               \
    S(f64, electrolyte_ohm, "ohm", "at 25 degC")                                                                                  \
    S(f64, contact_ohm, "ohm", "at 25 degC, reference pressure, full contact")                                                    \
    S(f64, transfer_ohm, "ohm", "at 25 degC")                                                                                     \
    S(f64, transfer_farad, "F", "capacitance of the first RC: tau / R at 25 degC")                                                \
    S(f64, diffusion_ohm, "ohm", "at 25 degC")                                                                                    \
    S(f64, diffusion_farad, "F", "capacitance of the second RC")                                                                  \
    S(f64, hysteresis_v, "V", "half the gap between the branches")                                                                \
    S(f64, hysteresis_soc_frac, "1", "SoC swing over which a branch is reached, 1/e")                                             \
    S(f64, electrode_cm2, "cm2", "area of one electrode, all layers")                                                             \
    S(f64, plating_ma_per_cm2, "mA/cm2", "critical current density on charge, 25 degC, reference pressure")                       \
    S(f64, stripping_ma_per_cm2, "mA/cm2", "critical current density on discharge")                                               \
    S(f64, void_growth, "1/(C/cm2)", "contact area lost per charge density stripped beyond the critical current")                 \
    S(f64, void_healing_s, "s", "time constant at 25 degC and reference pressure")                                                \
    S(f64, void_lost_frac, "1", "share of a void that never heals")                                                               \
    S(f64, void_max_frac, "1", "area that voids can take at most")                                                                \
    S(f64, short_hazard_per_s, "1/s", "hazard of a soft short at twice the critical plating current")                             \
    S(f64, short_shape, "1", "exponent of the overload in the hazard")                                                            \
    S(f64, short_initial_s, "S", "conductance of a fresh filament")                                                               \
    S(f64, short_growth_per_s, "1/s", "relative growth while the overload lasts")                                                 \
    S(f64, short_max_s, "S", "conductance at most")                                                                               \
    S(f64, leak_frac_per_s, "1/s", "self-discharge at 25 degC, of capacity")                                                      \
    S(f64, core_j_per_k, "J/K", "heat capacity of the core node")                                                                 \
    S(f64, surface_j_per_k, "J/K", "heat capacity of the surface node")                                                           \
    S(f64, core_surface_w_per_k, "W/K", "between the two nodes of a cell")                                                        \
    S(f64, neighbour_w_per_k, "W/K", "between surfaces of adjacent blocks of a module")                                           \
    S(f64, plate_w_per_k, "W/K", "a cell's surface to the plate")                                                                 \
    S(f64, air_w_per_k, "W/K", "a cell's surface to ambient")                                                                     \
    S(f64, plate_j_per_k, "J/K", "heat capacity of the plate")                                                                    \
    S(f64, coolant_j_per_k, "J/K", "heat capacity of the coolant")                                                                \
    S(f64, coolant_w_per_k, "W/K", "plate to coolant and coolant to radiator at full pump")                                       \
    S(f64, heater_w, "W", "heater at full duty")                                                                                  \
    S(f64, anode_um_per_ah, "um/Ah", "growth of one cell on charge")                                                              \
    S(f64, cathode_um_per_ah, "um/Ah", "growth of one cell on charge, usually negative")                                          \
    S(f64, thermal_um_per_k, "um/K", "free expansion of one cell")                                                                \
    S(f64, preload_kpa, "kPa", "stack pressure at half charge and 25 degC")                                                       \
    S(f64, stiffness_kpa_per_um, "kPa/um", "of a module, per mean free thickness change of its cells")                            \
    S(f64, creep_s, "s", "time constant of the set")                                                                              \
    S(f64, creep_frac, "1", "share of a pressure change that relaxes")                                                            \
    S(f64, runaway_1_per_s, "1/s", "first reaction: pre-exponential")                                                             \
    S(f64, runaway_1_k, "K", "first reaction: activation energy over k")                                                          \
    S(f64, runaway_1_j, "J", "first reaction: heat")                                                                              \
    S(f64, runaway_2_per_s, "1/s", "second reaction")                                                                             \
    S(f64, runaway_2_k, "K", "second reaction")                                                                                   \
    S(f64, runaway_2_j, "J", "second reaction")                                                                                   \
    S(f64, runaway_onset_degc, "degC", "no cell below it is integrated")                                                          \
    S(f64, runaway_short_degc, "degC", "the separator fails")                                                                     \
    S(f64, runaway_short_s, "S", "conductance of that short")                                                                     \
    S(f64, runaway_vent_kpa, "kPa", "pressure of the gas of one cell in its module")                                              \
    S(f64, interphase_ohm, "ohm/sqrt(s)", "growth of the interphase at 25 degC")                                                  \
    S(f64, calendar_frac, "1/sqrt(s)", "capacity lost with sqrt(time) at 25 degC")                                                \
    S(f64, cycle_loss_frac, "1", "capacity lost per equivalent full cycle")                                                       \
    S(f64, contact_loss_frac, "1", "contact area lost per equivalent full cycle")                                                 \
    S(f64, ageing_acceleration, "1", "factor on the time and throughput that age")                                                \
    S(f64, contactor_close_us, "us", "coil on to first touch")                                                                    \
    S(f64, contactor_open_us, "us", "coil off to opening")                                                                        \
    S(f64, contactor_bounce_us, "us", "bouncing after first touch")                                                               \
    S(f64, contactor_ohm, "ohm", "one closed contact")                                                                            \
    S(f64, cable_ohm, "ohm", "cables and busbars of the pack")                                                                    \
    S(f64, break_current_a, "A", "above it an opening is counted as beyond rating")                                               \
    S(f64, precharge_ohm, "ohm", "precharge resistor")                                                                            \
    S(f64, precharge_max_j, "J", "energy it survives")                                                                            \
    S(f64, link_farad, "F", "link capacitor")                                                                                     \
    S(f64, link_bleed_s, "S", "bleed resistor of the link")                                                                       \
    S(f64, fuse_rating_a, "A", "carries it for ever")                                                                             \
    S(f64, fuse_melt_a2s, "A2s", "integral of i^2 - rating^2 that melts it")                                                      \
    S(f64, bleed_s, "S", "balancing resistor of a block")                                                                         \
    S(f64, account_ohmic, "1", "factor on the ohmic heat in the balance; 1 but where a test breaks it")                           \
    A(f64, cell_capacity_as, PLANT_CELLS_MAX, "As", "capacity when new")                                                          \
    A(f64, cell_resistance_scale, PLANT_CELLS_MAX, "1", "spread of all resistances of a cell")                                    \
    A(f64, cell_leak_scale, PLANT_CELLS_MAX, "1", "spread of self-discharge")

/* What the world shows; the slow state of the cells. */
#define PLANT_STATE(S, A)                                                                                                        \
    S(u64, time_us, "us", "time since the start")                                                                                 \
    S(u64, tick, "1", "ticks of ten steps")                                                                                       \
    S(u32, step_in_tick, "1", "0 .. 9")                                                                                           \
    S(u32, contactor_closed, "1", "contacts that touch: bit 0 main plus, 1 main minus, 2 precharge")                              \
    S(u32, fuse_blown, "1", "1 once it is")                                                                                       \
    S(u32, precharge_burnt, "1", "1 once the precharge resistor is open")                                                         \
    S(u32, breaks_over_rating, "1", "openings above the break current")                                                           \
    S(f64, pack_voltage_v, "V", "at the pack's terminals, before the contactors")                                                 \
    S(f64, link_voltage_v, "V", "behind the contactors")                                                                          \
    S(f64, pack_current_a, "A", "mean over the last step, positive discharges")                                                   \
    S(f64, pack_soc_frac, "1", "0 when the weakest block is empty, 1 when the fullest is full")                                   \
    S(f64, coolant_degc, "degC", "coolant")                                                                                       \
    S(f64, plate_degc, "degC", "cold plate")                                                                                      \
    S(f64, insulation_kohm, "kohm", "both poles in parallel to chassis")                                                          \
    S(f64, fuse_heat_a2s, "A2s", "integral above the rating")                                                                     \
    S(f64, precharge_heat_j, "J", "energy in the precharge resistor that has not cooled")                                         \
    S(f64, contactor_inrush_a, "A", "largest current within 5 ms of a main contact touching")                                     \
    A(f64, block_voltage_v, PLANT_BLOCKS_MAX, "V", "of each block")                                                               \
    A(f64, module_pressure_kpa, PLANT_MODULES_MAX, "kPa", "stack pressure")                                                       \
    A(f64, module_set_kpa, PLANT_MODULES_MAX, "kPa", "pressure relaxed by creep")                                                 \
    A(f64, module_gas_kpa, PLANT_MODULES_MAX, "kPa", "pressure of vented gas")                                                    \
    A(f64, cell_soc_frac, PLANT_CELLS_MAX, "1", "state of charge")                                                                \
    A(f64, cell_current_a, PLANT_CELLS_MAX, "A", "mean over the last tick, positive discharges")                                  \
    A(f64, cell_core_degc, PLANT_CELLS_MAX, "degC", "core")                                                                       \
    A(f64, cell_surface_degc, PLANT_CELLS_MAX, "degC", "surface")                                                                 \
    A(f64, cell_hysteresis, PLANT_CELLS_MAX, "1", "-1 charge branch, 1 discharge branch")                                         \
    A(f64, cell_v1_v, PLANT_CELLS_MAX, "V", "charge-transfer polarisation")                                                       \
    A(f64, cell_v2_v, PLANT_CELLS_MAX, "V", "diffusion polarisation")                                                             \
    A(f64, cell_void_frac, PLANT_CELLS_MAX, "1", "contact area lost to voids that can heal")                                      \
    A(f64, cell_void_lost_frac, PLANT_CELLS_MAX, "1", "contact area lost to voids for good")                                      \
    A(f64, cell_contact_loss_frac, PLANT_CELLS_MAX, "1", "contact area lost by cycling")                                          \
    A(f64, cell_interphase_ohm, PLANT_CELLS_MAX, "ohm", "resistance of the grown interphase")                                     \
    A(f64, cell_calendar_frac, PLANT_CELLS_MAX, "1", "capacity lost with time")                                                   \
    A(f64, cell_cycled_frac, PLANT_CELLS_MAX, "1", "capacity lost by cycling")                                                    \
    A(f64, cell_throughput_as, PLANT_CELLS_MAX, "As", "charge moved either way")                                                  \
    A(f64, cell_capacity_now_as, PLANT_CELLS_MAX, "As", "capacity now")                                                           \
    A(f64, cell_resistance_ohm, PLANT_CELLS_MAX, "ohm", "R0 now")                                                                 \
    A(f64, cell_plating_margin, PLANT_CELLS_MAX, "1", "plating current density over the critical one; above 1 shorts grow")       \
    A(f64, cell_reacted_1, PLANT_CELLS_MAX, "1", "progress of the first runaway reaction")                                        \
    A(f64, cell_reacted_2, PLANT_CELLS_MAX, "1", "progress of the second")

/* Energy since the start, in joule; each term is summed on its own. */
#define PLANT_ENERGY(S, A)                                                                                                       \
    S(f64, energy_terminal_j, "J", "delivered at the terminals, positive discharges")                                             \
    S(f64, energy_throughput_j, "J", "integral of |power| at the terminals")                                                      \
    S(f64, energy_bled_j, "J", "turned to heat in balancing resistors, outside the cells")                                        \
    S(f64, energy_ohmic_j, "J", "heat i^2 R0")                                                                                    \
    S(f64, energy_transfer_j, "J", "heat of the first RC")                                                                        \
    S(f64, energy_diffusion_j, "J", "heat of the second RC")                                                                      \
    S(f64, energy_hysteresis_j, "J", "heat of the hysteresis loop")                                                               \
    S(f64, energy_reversible_j, "J", "heat -i T dU/dT")                                                                           \
    S(f64, energy_short_j, "J", "heat in internal shorts")                                                                        \
    S(f64, energy_leak_j, "J", "heat of self-discharge")                                                                          \
    S(f64, energy_reaction_j, "J", "heat of runaway reactions")                                                                   \
    S(f64, energy_forced_j, "J", "heat forced into cells from outside")                                                           \
    S(f64, energy_heater_j, "J", "heat of the heater")                                                                            \
    S(f64, energy_air_j, "J", "heat given to ambient and radiator")                                                               \
    S(f64, energy_aged_j, "J", "enthalpy that left with lost capacity")                                                           \
    S(f64, energy_chemical_j, "J", "enthalpy of all cells now")                                                                   \
    S(f64, energy_polarised_j, "J", "in both RC elements now")                                                                    \
    S(f64, energy_thermal_j, "J", "in all heat capacities now, above 0 degC")                                                     \
    S(f64, energy_start_j, "J", "the three before at the start")                                                                  \
    S(f64, energy_residual_j, "J", "what does not close; plant_energy() brings it up to date")

/* Inner variables; a snapshot needs them, nobody else. */
#define PLANT_INNER(S, A)                                                                                                        \
    S(f64, step_s, "s", "length of the step under way")                                                                           \
    S(f64, string_ohm, "ohm", "inner resistance of all blocks in the tick")                                                       \
    S(u32, is_uniform, "1", "1 while one current flows in all cells")                                                             \
    S(u32, extra_any, "1", "1 while a balancing resistor or a short conducts")                                                    \
    S(f64, string_charge_c, "As", "charge moved in the tick, one current for all")                                                \
    S(f64, string_square_a2s, "A2s", "integral of i^2 over the tick, one current for all")                                        \
    S(f64, emf_sum_v, "V", "sum of the blocks' Thevenin voltages")                                                                \
    S(f64, string_base_v, "V", "sum of cell_base_v, one current for all")                                                         \
    S(f64, string_slope_v_per_c, "V/As", "sum of cell_slope_v_per_c, one current for all")                                        \
    S(f64, string_polarised_v, "V", "sum of damped v1 at the start of the step, one current for all")                             \
    S(u32, pieces_moved, "1", "not 0: a cell left its piece of a table")                                                          \
    S(u32, hot_cells, "1", "1 while a cell is above the onset of runaway")                                                        \
    S(f64, plate_half_degc, "degC", "plate at half the tick")                                                                     \
    S(f64, decay_key_ohm, "ohm", "path resistance for which the two factors below hold")                                          \
    S(f64, decay_key_siemens, "S", "link conductance for which they hold")                                                        \
    S(f64, decay_key_s, "s", "step for which they hold")                                                                          \
    S(f64, decay_frac, "1", "e^-x of the link circuit")                                                                           \
    S(f64, decay_mean, "1", "(1 - e^-x) / x")                                                                                     \
    A(f64, contactor_timer_us, 3, "us", "since coil and contact disagree")                                                        \
    A(f64, contactor_bounce_left_us, 3, "us", "bouncing left")                                                                    \
    S(f64, inrush_left_us, "us", "window in which the inrush is looked at")                                                       \
    S(u32, armature, "1", "contactors whose armature is in")                                                                      \
    A(f64, ocv_slope_v, PLANT_SOC_POINTS, "V", "difference to the next point")                                                    \
    A(f64, entropic_slope, PLANT_SOC_POINTS, "V/K", "difference to the next point")                                               \
    A(f64, enthalpy_v, PLANT_SOC_POINTS, "V", "integral of U - T0 dU/dT from 0")                                                  \
    A(f64, transfer_inverse, PLANT_TEMPERATURE_POINTS, "1", "1 / transfer_law")                                                   \
    A(f64, diffusion_inverse, PLANT_TEMPERATURE_POINTS, "1", "1 / diffusion_law")                                                 \
    A(f64, block_contact, PLANT_BLOCKS_MAX, "1", "contact multiplier by the pressure of its module")                              \
    A(f64, block_critical, PLANT_BLOCKS_MAX, "1", "critical current multiplier by pressure")                                      \
    A(f64, block_up_w_per_k, PLANT_BLOCKS_MAX, "W/K", "to the next block; 0 at the end of a module")                              \
    A(f64, block_down_w_per_k, PLANT_BLOCKS_MAX, "W/K", "to the block before; 0 at the start of a module")                        \
    A(f64, module_elastic_kpa, PLANT_MODULES_MAX, "kPa", "pressure over the preload if nothing crept")                            \
    A(u8, bleed_used, PLANT_BLOCKS_MAX, "1", "balancing switches as they hold for the tick")                                      \
    A(f64, cell_short_used_s, PLANT_CELLS_MAX, "S", "internal shorts as they hold for the tick")                                   \
    A(f64, block_emf_v, PLANT_BLOCKS_MAX, "V", "Thevenin voltage")                                                                \
    A(f64, block_ohm, PLANT_BLOCKS_MAX, "ohm", "Thevenin resistance")                                                             \
    A(f64, block_extra_s, PLANT_BLOCKS_MAX, "S", "balancing resistor and shorts across the block")                                \
    A(f64, block_square_v2s, PLANT_BLOCKS_MAX, "V2s", "integral of V^2 over the tick")                                            \
    A(f64, cell_base_v, PLANT_CELLS_MAX, "V", "slow emf at the start of the tick")                                                \
    A(f64, cell_slope_v_per_c, PLANT_CELLS_MAX, "V/As", "its fall with the charge moved")                                         \
    A(i32, cell_law_index, PLANT_CELLS_MAX, "1", "interval of the temperature tables")                                           \
    A(i32, cell_soc_index, PLANT_CELLS_MAX, "1", "interval of the tables over SoC")                                              \
    A(f64, piece_electrolyte, PLANT_CELLS_MAX, "1", "start of the piece of the table")                                           \
    A(f64, rise_electrolyte, PLANT_CELLS_MAX, "1", "rise over it")                                                               \
    A(f64, piece_contact, PLANT_CELLS_MAX, "1", "start of the piece of the table")                                               \
    A(f64, rise_contact, PLANT_CELLS_MAX, "1", "rise over it")                                                                   \
    A(f64, piece_transfer, PLANT_CELLS_MAX, "1", "start of the piece of the table")                                              \
    A(f64, rise_transfer, PLANT_CELLS_MAX, "1", "rise over it")                                                                  \
    A(f64, piece_diffusion, PLANT_CELLS_MAX, "1", "start of the piece of the table")                                             \
    A(f64, rise_diffusion, PLANT_CELLS_MAX, "1", "rise over it")                                                                 \
    A(f64, piece_ocv_v, PLANT_CELLS_MAX, "V", "start of the piece of the table")                                                 \
    A(f64, rise_ocv_v, PLANT_CELLS_MAX, "V", "rise over it")                                                                     \
    A(f64, piece_entropic, PLANT_CELLS_MAX, "V/K", "start of the piece of the table")                                            \
    A(f64, rise_entropic, PLANT_CELLS_MAX, "V/K", "rise over it")                                                                \
    A(f64, cell_mid_ohm, PLANT_CELLS_MAX, "ohm", "R0, and what half a step at this current adds")                                  \
    A(f64, cell_siemens, PLANT_CELLS_MAX, "S", "1 / cell_mid_ohm; not kept up in a uniform string")                                \
    A(f64, cell_damp_1, PLANT_CELLS_MAX, "1", "1 / (1 + dt / 2 R1 C1)")                                                            \
    A(f64, cell_damp_2, PLANT_CELLS_MAX, "1", "1 / (1 + tick / 2 R2 C2)")                                                          \
    A(f64, cell_transfer_s, PLANT_CELLS_MAX, "S", "1 / R1")                                                                       \
    A(f64, cell_diffusion_s, PLANT_CELLS_MAX, "S", "1 / R2")                                                                      \
    A(f64, cell_charge_c, PLANT_CELLS_MAX, "As", "charge moved in the tick")                                                      \
    A(f64, cell_square_a2s, PLANT_CELLS_MAX, "A2s", "integral of i^2 over the tick")                                              \
    A(f64, cell_transfer_v2s, PLANT_CELLS_MAX, "V2s", "integral of v1^2 over the tick")                                           \
    A(f64, cell_entropic_v_per_k, PLANT_CELLS_MAX, "V/K", "dU/dT at the start of the tick")                                       \
    A(f64, cell_kelvin, PLANT_CELLS_MAX, "K", "core at half the tick, as far as known at its start")                               \
    A(f64, cell_per_as, PLANT_CELLS_MAX, "1/As", "1 / capacity now")                                                              \
    A(f64, cell_throughput_aged_as, PLANT_CELLS_MAX, "As", "throughput that has aged the cell already")                            \
    A(f64, cell_leak_a, PLANT_CELLS_MAX, "A", "self-discharge")                                                                   \
    A(f64, cell_recent_as, PLANT_CELLS_MAX, "As", "charge moved since voids were last looked at")                                 \
    A(f64, cell_swell_um, PLANT_CELLS_MAX, "um", "free thickness change")                                                         \
    A(f64, cell_ohmic_sum_j, PLANT_CELLS_MAX, "J", "energy_ohmic_j of each cell; the same for the six below")                     \
    A(f64, cell_transfer_sum_j, PLANT_CELLS_MAX, "J", "first RC")                                                                 \
    A(f64, cell_diffusion_sum_j, PLANT_CELLS_MAX, "J", "second RC")                                                               \
    A(f64, cell_hysteresis_sum_j, PLANT_CELLS_MAX, "J", "hysteresis loop")                                                        \
    A(f64, cell_reversible_sum_j, PLANT_CELLS_MAX, "J", "reversible")                                                             \
    A(f64, cell_short_sum_j, PLANT_CELLS_MAX, "J", "internal shorts")                                                             \
    A(f64, cell_leak_sum_j, PLANT_CELLS_MAX, "J", "self-discharge")                                                               \
    A(f64, cell_heat_j, PLANT_CELLS_MAX, "J", "heat of the tick")                                                                 \
    A(f64, cell_core_before_degc, PLANT_CELLS_MAX, "degC", "core one tick ago")                                                   \
    A(f64, cell_core_half_degc, PLANT_CELLS_MAX, "degC", "core at half the tick")                                                 \
    A(f64, cell_surface_half_degc, PLANT_CELLS_MAX, "degC", "surface at half the tick")

#define PLANT_FIELDS(S, A) PLANT_INPUTS(S, A) PLANT_PARAMETERS(S, A) PLANT_STATE(S, A) PLANT_ENERGY(S, A) PLANT_INNER(S, A)

/* Every array begins on a cache line: a vector load that straddles two costs twice. The whole struct then does too. */
#define PLANT_DECLARE_A(type, name, count, unit, text) type name[count] __attribute__((aligned(64)));
typedef struct { PLANT_FIELDS(FIELD_DECLARE_S, PLANT_DECLARE_A) } plant_t;
extern const field_t plant_fields[];
extern const size_t plant_field_count;

/* After parameters and the initial cell_soc_frac, cell_core_degc, cell_surface_degc, coolant_degc, plate_degc, ambient_degc were
 * filled: derives the rest, everything at rest, contactors open. */
void plant_init(plant_t *p);
/* One step of step_us; every tenth ends with the slow part. */
void plant_step_ms(plant_t *p);
/* Brings the energies "now" and the residual up to date. */
void plant_energy(plant_t *p);
/* 1 where AVX2 may be used, else 0. */
uint32_t plant_best_isa(void);

#endif
