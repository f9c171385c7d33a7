"""The plant again, slow and obvious, to check the compiled one by.

Written from the equations at the head of ext/plant/plant.h, not from the C. Each function is one
equation over arrays: `p` maps field names to arrays (as in `Plant.fields`), cells are of shape
(parallel, blocks), times in s, temperatures in degC, currents positive on discharge. NumPy's own
exp and power are used freely: nothing here is ever hashed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Fields = Mapping[str, np.ndarray]
Array = np.ndarray

KELVIN = 273.15
REFERENCE_DEGC = 25.0
LOW_DEGC, STEP_K = -60.0, 2.5  # the grid of the temperature tables
AREA_MIN_FRAC = 0.02  # contact area that is always left


# ---- reading the struct ----


def scalar(p: Fields, name: str) -> float:
    """A field of one value."""
    return float(p[name][0])


def cells(p: Fields, name: str) -> Array:
    """A field with a value for each cell, as (parallel, blocks)."""
    parallel, blocks = int(p["parallel"][0]), int(p["blocks"][0])
    return np.array(p[name][: parallel * blocks]).reshape(parallel, blocks)


def blocks(p: Fields, name: str) -> Array:
    """A field with a value for each block, shape (blocks,)."""
    return np.array(p[name][: int(p["blocks"][0])])


def module_of_block(p: Fields) -> Array:
    """Index of the module of each block, shape (blocks,)."""
    return np.arange(int(p["blocks"][0])) // int(p["blocks_per_module"][0])


def look_up(table: Array, position: Array) -> Array:
    """Linear interpolation at a position in grid steps; the end pieces go on beyond the ends."""
    k = np.clip(np.trunc(position), 0, len(table) - 2).astype(int)
    return np.asarray(table[k] + (position - k) * (table[k + 1] - table[k]))


def law(p: Fields, name: str, degc: Array) -> Array:
    """A table over temperature; the end pieces go on beyond the ends."""
    return look_up(p[name], (degc - LOW_DEGC) / STEP_K)


def within(degc: Array) -> Array:
    """Temperature held inside the tables: resistances stop changing at -60 and 200 degC."""
    return np.asarray(np.clip(degc, LOW_DEGC, 200.0))


def over_pressure(p: Fields, name: str, kpa: Array) -> Array:
    """A table over stack pressure."""
    table = np.asarray(p[name])
    return look_up(table, kpa / scalar(p, "pressure_max_kpa") * (len(table) - 1))


# ---- electric, one cell ----


def entropic_v_per_k(p: Fields, soc_frac: Array) -> Array:
    """dU/dT."""
    return look_up(p["entropic_v_per_k"], soc_frac * (len(p["ocv_v"]) - 1))


def open_circuit_v(p: Fields, soc_frac: Array, core_degc: Array) -> Array:
    """U(z) + (T - 25 degC) dU/dT(z)."""
    at_25 = look_up(p["ocv_v"], soc_frac * (len(p["ocv_v"]) - 1))
    return np.asarray(at_25 + (core_degc - REFERENCE_DEGC) * entropic_v_per_k(p, soc_frac))


def piece_slope(table: Array, soc_frac: Array) -> Array:
    """Slope over SoC of the piece of a table that soc_frac lies in."""
    pieces = len(table) - 1
    k = np.clip(np.trunc(soc_frac * pieces), 0, pieces - 1).astype(int)
    return np.asarray(pieces * (table[k + 1] - table[k]))


def entropic_slope_v_per_k(p: Fields, soc_frac: Array) -> Array:
    """d2U/dTdz."""
    return piece_slope(p["entropic_v_per_k"], soc_frac)


def open_circuit_slope_v(p: Fields, soc_frac: Array, core_degc: Array) -> Array:
    """dU/dz."""
    warmer = core_degc - REFERENCE_DEGC
    entropic = entropic_slope_v_per_k(p, soc_frac)
    return np.asarray(piece_slope(p["ocv_v"], soc_frac) + warmer * entropic)


def enthalpy_v(p: Fields, soc_frac: Array) -> Array:
    """Integral of U - T0 dU/dT from 0 to z: enthalpy over capacity. Exact on the linear pieces."""
    heat_v = p["ocv_v"] - (REFERENCE_DEGC + KELVIN) * p["entropic_v_per_k"]
    pieces = len(heat_v) - 1
    knots = np.concatenate(([0.0], np.cumsum(0.5 * (heat_v[1:] + heat_v[:-1])))) / pieces
    k = np.clip(np.trunc(soc_frac * pieces), 0, pieces - 1).astype(int)
    f = soc_frac * pieces - k
    return np.asarray(
        knots[k] + (f * heat_v[k] + 0.5 * f * f * (heat_v[k + 1] - heat_v[k])) / pieces
    )


def contact_area_frac(p: Fields) -> Array:
    """Contact area left, over that of a new cell."""
    voids = cells(p, "cell_void_frac") + cells(p, "cell_void_lost_frac")
    return np.asarray(np.maximum(AREA_MIN_FRAC, 1.0 - voids - cells(p, "cell_contact_loss_frac")))


def series_ohm(p: Fields, degc: Array, pressure_multiplier: Array) -> Array:
    """R0: electrolyte, and contact and interphase over the area left.

    pressure_multiplier is of each block.
    """
    electrolyte = scalar(p, "electrolyte_ohm") * law(p, "electrolyte_law", degc)
    contact = scalar(p, "contact_ohm") * law(p, "contact_law", degc) * pressure_multiplier
    through = (contact + cells(p, "cell_interphase_ohm")) / contact_area_frac(p)
    return np.asarray(cells(p, "cell_resistance_scale") * (electrolyte + through))


def polarisation_ohm(p: Fields, which: str, degc: Array) -> Array:
    """R1 ("transfer") or R2 ("diffusion")."""
    # The tables hold resistances; between two points it is the conductance that is linear.
    siemens = look_up(1.0 / p[f"{which}_law"], (degc - LOW_DEGC) / STEP_K)
    return np.asarray(cells(p, "cell_resistance_scale") * scalar(p, f"{which}_ohm") / siemens)


def rc_step(v: Array, charge_as: Array, ohm: Array, farad: float, dt_s: float) -> Array:
    """C dv/dt = i - v/R by the implicit midpoint rule: C (v' - v) = charge - dt (v + v') / 2R."""
    half = dt_s / (2.0 * ohm * farad)
    return np.asarray((v * (1.0 - half) + charge_as / farad) / (1.0 + half))


def hysteresis_step(p: Fields, h: Array, moved_soc_frac: Array) -> Array:
    """dh = (sign(i) - h) |dz| / z_h, implicit midpoint rule; moved_soc_frac discharges."""
    swing = 0.5 * np.abs(moved_soc_frac) / scalar(p, "hysteresis_soc_frac")
    return np.asarray((h * (1.0 - swing) + 2.0 * swing * np.sign(moved_soc_frac)) / (1.0 + swing))


def leak_a(p: Fields, degc: Array) -> Array:
    """Self-discharge of each cell."""
    rate_per_s = scalar(p, "leak_frac_per_s") * law(p, "leak_law", degc)
    return np.asarray(rate_per_s * cells(p, "cell_leak_scale") * cells(p, "cell_capacity_as"))


# ---- electric, a block ----


def split(emf_v: Array, ohm: Array, extra_siemens: Array, pack_a: float) -> tuple[Array, Array]:
    """(block voltage, cell currents) of cells in parallel with shunts across the block.

    Solved as the linear system it is: for each block the unknowns are its cells' currents and its
    voltage, i_c R_c + V = E_c and sum i_c - g_extra V = i_pack.
    """
    parallel, count = emf_v.shape
    voltage, currents = np.zeros(count), np.zeros((parallel, count))
    for b in range(count):
        matrix, right = np.zeros((parallel + 1, parallel + 1)), np.zeros(parallel + 1)
        matrix[:parallel, :parallel] = np.diag(ohm[:, b])
        matrix[:parallel, parallel] = 1.0
        matrix[parallel, :parallel] = 1.0
        matrix[parallel, parallel] = -extra_siemens[b]
        right[:parallel], right[parallel] = emf_v[:, b], pack_a
        solution = np.linalg.solve(matrix, right)
        currents[:, b], voltage[b] = solution[:parallel], solution[parallel]
    return voltage, currents


def shunt_siemens(p: Fields) -> Array:
    """Balancing resistor where it is switched on, and the internal shorts, of each block."""
    bleeding = np.where(blocks(p, "bleed_on") != 0, scalar(p, "bleed_s"), 0.0)
    return np.asarray(bleeding + cells(p, "cell_short_siemens").sum(axis=0))


def hysteresis_slope_v(p: Fields) -> Array:
    """Fall of the emf over SoC discharged by M h, on the side of the last current."""
    h = cells(p, "cell_hysteresis")
    side = np.where(cells(p, "cell_current_a") > 0.0, 1.0, -1.0)
    return np.asarray(
        scalar(p, "hysteresis_v") * (1.0 - side * h) / scalar(p, "hysteresis_soc_frac")
    )


def electric_tick(
    p: Fields, earlier: Fields, pack_a: Array, dt_s: float, account_ohmic: float = 1.0
) -> dict[str, Array]:
    """State and heat of a tick on, from the state `p` at its start.

    earlier: the state one tick before, from which core temperature and pressure are carried on to
    half the tick. pack_a: pack current of each step, shape (steps,), held over dt_s. Heats in J
    per cell. Implicit midpoint rule: all voltages are those at the middle of a step. Within the
    tick the slow part of the emf falls in a straight line with the charge moved.
    """
    soc, core, h = (cells(p, f"cell_{name}") for name in ("soc_frac", "core_degc", "hysteresis"))
    v1, v2, capacity = (cells(p, f"cell_{n}") for n in ("v1_v", "v2_v", "capacity_now_as"))
    half_degc = core + 0.5 * (core - cells(earlier, "cell_core_degc"))
    kpa_now, kpa_before = p["module_pressure_kpa"], earlier["module_pressure_kpa"]
    kpa = kpa_now + 0.5 * (kpa_now - kpa_before)
    pressure = over_pressure(p, "pressure_contact", kpa)[module_of_block(p)]
    r0 = series_ohm(p, within(half_degc), pressure)
    r1 = polarisation_ohm(p, "transfer", within(half_degc))
    r2 = polarisation_ohm(p, "diffusion", within(half_degc))
    c1, c2 = scalar(p, "transfer_farad"), scalar(p, "diffusion_farad")
    tick_s = dt_s * len(pack_a)
    keep_1 = 1.0 / (1.0 + dt_s / (2.0 * r1 * c1))  # of v1, to the middle of a step
    keep_2 = 1.0 / (1.0 + tick_s / (2.0 * r2 * c2))  # of v2, to the middle of the tick
    ocv_v = open_circuit_v(p, soc, half_degc)
    lag_v, lag_slope = scalar(p, "hysteresis_v") * h, hysteresis_slope_v(p) / capacity
    slow_v = ocv_v - lag_v - keep_2 * v2
    slope = open_circuit_slope_v(p, soc, half_degc) / capacity + lag_slope + keep_2 / c2
    ohm = r0 + 0.5 * dt_s * (slope + keep_1 / c1)
    moved, ohmic, transfer = np.zeros_like(soc), np.zeros_like(soc), np.zeros_like(soc)
    square = np.zeros(soc.shape[1])
    for amps in pack_a:
        emf_v = slow_v - slope * moved - keep_1 * v1
        voltage, current = split(emf_v, ohm, shunt_siemens(p), float(amps))
        after = rc_step(v1, current * dt_s, r1, c1, dt_s)
        transfer = transfer + (0.5 * (v1 + after)) ** 2 / r1 * dt_s
        ohmic = ohmic + current**2 * r0 * dt_s
        square = square + voltage**2 * dt_s
        moved, v1 = moved + current * dt_s, after
    v2_after = rc_step(v2, moved, r2, c2, tick_s)
    leaked = cells(p, "cell_leak_a") * tick_s
    kelvin = half_degc + KELVIN
    entropic = entropic_v_per_k(p, soc)
    entropic_mid = entropic - 0.5 * moved / capacity * entropic_slope_v_per_k(p, soc)
    return {
        "soc_frac": soc - (moved + leaked) / capacity,
        "v1_v": v1,
        "v2_v": v2_after,
        "hysteresis": hysteresis_step(p, h, moved / capacity),
        "current_a": moved / tick_s,
        "block_voltage_v": voltage,
        "ohmic_j": account_ohmic * ohmic,
        "transfer_j": transfer,
        "diffusion_j": (0.5 * (v2 + v2_after)) ** 2 / r2 * tick_s,
        "hysteresis_j": (lag_v + 0.5 * lag_slope * moved) * moved,
        "reversible_j": -kelvin * entropic_mid * moved,
        "short_j": cells(p, "cell_short_siemens") * square,
        "leak_j": leaked * (ocv_v - kelvin * entropic),
    }


# ---- heat ----


def heat_flow(
    p: Fields, core: Array, surface: Array, plate: float, coolant: float, heat_w: Array
) -> tuple[Array, Array, float, float]:
    """dT/dt of cores, surfaces, plate and coolant in K/s. Neighbours touch only inside a module."""
    inward = scalar(p, "core_surface_w_per_k") * (core - surface)
    module, ambient = module_of_block(p), scalar(p, "ambient_degc")
    between = np.zeros_like(surface)
    for b in range(surface.shape[1] - 1):
        if module[b] == module[b + 1]:
            flow = scalar(p, "neighbour_w_per_k") * (surface[:, b + 1] - surface[:, b])
            between[:, b] += flow
            between[:, b + 1] -= flow
    to_plate = scalar(p, "plate_w_per_k") * (surface - plate)
    to_air = scalar(p, "air_w_per_k") * (surface - ambient)
    pump = 0.0 if p["pump_failed"][0] else scalar(p, "pump_frac")
    heater = scalar(p, "heater_w") * (1.0 if p["heater_stuck"][0] else scalar(p, "heater_frac"))
    full = scalar(p, "coolant_w_per_k")
    to_coolant = full * (0.02 + 0.98 * pump) * (plate - coolant)  # still coolant: 2 % of full flow
    return (
        (heat_w - inward) / scalar(p, "core_j_per_k"),
        (inward + between - to_plate - to_air) / scalar(p, "surface_j_per_k"),
        float(to_plate.sum() + heater - to_coolant) / scalar(p, "plate_j_per_k"),
        (to_coolant - full * pump * (coolant - ambient)) / scalar(p, "coolant_j_per_k"),
    )


def heat_tick(p: Fields, heat_j: Array, tick_s: float) -> dict[str, Array]:
    """All temperatures a tick on, explicit midpoint rule; heat_j is what each core receives."""
    core, surface = cells(p, "cell_core_degc"), cells(p, "cell_surface_degc")
    plate, coolant = scalar(p, "plate_degc"), scalar(p, "coolant_degc")
    flow = heat_flow(p, core, surface, plate, coolant, heat_j / tick_s)
    half = 0.5 * tick_s
    flow = heat_flow(
        p,
        core + half * flow[0],
        surface + half * flow[1],
        plate + half * flow[2],
        coolant + half * flow[3],
        heat_j / tick_s,
    )
    return {
        "core_degc": core + tick_s * flow[0],
        "surface_degc": surface + tick_s * flow[1],
        "plate_degc": np.array(plate + tick_s * flow[2]),
        "coolant_degc": np.array(coolant + tick_s * flow[3]),
    }


# ---- stack pressure ----


def elastic_kpa(p: Fields) -> Array:
    """Pressure of each module over its preload, from the free thickness of its cells."""
    charge_ah = (cells(p, "cell_soc_frac") - 0.5) * cells(p, "cell_capacity_now_as") / 3600.0
    mean_degc = 0.5 * (cells(p, "cell_core_degc") + cells(p, "cell_surface_degc"))
    swell_um = (scalar(p, "anode_um_per_ah") + scalar(p, "cathode_um_per_ah")) * charge_ah
    swell_um = swell_um + scalar(p, "thermal_um_per_k") * (mean_degc - REFERENCE_DEGC)
    module, modules = module_of_block(p), int(p["modules"][0])
    mean_um = np.array([swell_um[:, module == m].mean() for m in range(modules)])
    return np.asarray(scalar(p, "stiffness_kpa_per_um") * mean_um)


def pressure_tick(p: Fields, earlier: Fields, tick_s: float) -> tuple[Array, Array]:
    """(stack pressure, set) of each module; the set grows from that of the state one tick earlier.

    d set/dt = (share * elastic - set) / tau, implicit midpoint rule.
    """
    elastic, half = elastic_kpa(p), 0.5 * tick_s / scalar(p, "creep_s")
    goal = scalar(p, "creep_frac") * 0.5 * (elastic + elastic_kpa(earlier))
    set_kpa = earlier["module_set_kpa"][: len(elastic)]
    settled = (set_kpa * (1.0 - half) + 2.0 * half * goal) / (1.0 + half)
    gas = p["module_gas_kpa"][: len(elastic)]
    total = scalar(p, "preload_kpa") + elastic - settled + gas
    return np.clip(total, 5.0, scalar(p, "pressure_max_kpa")), settled


# ---- contact, plating, ageing, runaway ----


def critical_multiplier(p: Fields) -> Array:
    """Critical current density over its value at 25 degC and reference pressure."""
    kpa = p["module_pressure_kpa"][module_of_block(p)]
    by_temperature = law(p, "critical_law", cells(p, "cell_core_degc"))
    return np.asarray(by_temperature * over_pressure(p, "pressure_critical", kpa))


def contact_tick(
    p: Fields, void: Array, lost: Array, charge_as: Array, span_s: float
) -> dict[str, Array]:
    """Voids and plating margin after span_s, in which charge_as went through each cell.

    void and lost: contact area lost before, healing and for good; temperatures and pressure of `p`.
    """
    density = charge_as / span_s / scalar(p, "electrode_cm2") * 1e3  # mA/cm2, positive strips
    critical = critical_multiplier(p)
    beyond_ma = np.maximum(0.0, density - scalar(p, "stripping_ma_per_cm2") * critical)
    room = np.maximum(0.0, 1.0 - (void + lost) / scalar(p, "void_max_frac"))
    grown = scalar(p, "void_growth") * beyond_ma * 1e-3 * span_s * room
    healed = np.minimum(1.0, critical * span_s / scalar(p, "void_healing_s")) * void
    for_good = scalar(p, "void_lost_frac")
    return {
        "void_frac": void + grown * (1.0 - for_good) - healed,
        "void_lost_frac": lost + grown * for_good,
        "plating_margin": np.maximum(0.0, -density) / (scalar(p, "plating_ma_per_cm2") * critical),
    }


def short_hazard_per_s(p: Fields, plating_margin: Array) -> Array:
    """Rate of soft shorts: none up to the critical current, then hazard (margin - 1)^shape."""
    overload = np.maximum(0.0, plating_margin - 1.0)
    return np.asarray(scalar(p, "short_hazard_per_s") * overload ** scalar(p, "short_shape"))


def sqrt_time_growth(before: Array, rate_per_sqrt_s: Array, span_s: float) -> Array:
    """x = k sqrt(t), so (x^2)' = k^2: exact while k stands, continuous when it changes."""
    return np.asarray(np.sqrt(before**2 + rate_per_sqrt_s**2 * span_s))


def runaway_step(p: Fields, reacted: Array, core_degc: Array, stage: int, dt_s: float) -> Array:
    """Progress of a first-order reaction at constant temperature."""
    kelvin = core_degc + KELVIN
    exponent = np.exp(-scalar(p, f"runaway_{stage}_k") / kelvin)
    rate = scalar(p, f"runaway_{stage}_per_s") * exponent
    return np.asarray(1.0 - (1.0 - reacted) * np.exp(-rate * dt_s))


# ---- link ----


def link_step(
    p: Fields, link_v: float, emf_v: float, ohm: float, load_a: float, dt_s: float
) -> tuple[float, float]:
    """(link voltage, mean pack current) after dt_s of C dv/dt = (emf - v)/R - I - G v."""
    siemens = scalar(p, "link_bleed_s") + scalar(p, "link_short_siemens")
    final = (emf_v - ohm * load_a) / (1.0 + ohm * siemens)
    tau = ohm * scalar(p, "link_farad") / (1.0 + ohm * siemens)
    after = final + (link_v - final) * np.exp(-dt_s / tau)
    mean = final - (link_v - final) * tau / dt_s * np.expm1(-dt_s / tau)
    return float(after), float((emf_v - mean) / ohm)
