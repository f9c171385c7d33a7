"""Every compiled kernel against its NumPy twin, over random states: 1e-9 a step or tick."""

import numpy as np
import pytest

from bms.plant import twin

TOLERANCE = 1e-9
CELLS = ("sulfide_nmc811_77ah", "polymer_lfp_hot", "panasonic_18650pf")
SHAPES = ((16, 1), (24, 3), (8, 12))


def agree(name, got, expected, scale=None):
    """Largest difference, over the largest expected value (or `scale`), at most 1e-9."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    assert got.shape == expected.shape, name
    size = scale if scale is not None else max(1e-300, float(np.abs(expected).max()))
    worst = float(np.abs(got - expected).max()) / size
    assert worst <= TOLERANCE, f"{name}: {worst:.3g} relative"


def shake(r, chance, degc=(-25.0, 65.0)):
    """A random state of everything slow; contactors are closed already."""
    n, f = r.count, r.f
    f["cell_soc_frac"][:n] = chance.uniform(0.03, 0.97, n)
    f["cell_core_degc"][:n] = chance.uniform(*degc, n)
    f["cell_surface_degc"][:n] = f["cell_core_degc"][:n] + chance.normal(0, 3, n)
    f["plate_degc"][0], f["coolant_degc"][0] = chance.uniform(*degc, 2)
    f["ambient_degc"][0] = chance.uniform(*degc)
    f["pump_frac"][0], f["heater_frac"][0] = chance.uniform(0, 1, 2)
    f["cell_heat_w"][:n] = chance.uniform(0, 20, n) * (chance.random(n) < 0.3)
    f["cell_hysteresis"][:n] = chance.uniform(-1, 1, n)
    f["cell_v1_v"][:n] = chance.normal(0, 0.02, n)
    f["cell_v2_v"][:n] = chance.normal(0, 0.02, n)
    f["cell_void_frac"][:n] = chance.uniform(0, 0.3, n)
    f["cell_void_lost_frac"][:n] = chance.uniform(0, 0.1, n)
    f["cell_contact_loss_frac"][:n] = chance.uniform(0, 0.1, n)
    f["cell_interphase_ohm"][:n] = chance.uniform(0, 1e-4, n)
    f["cell_short_siemens"][:n] = chance.uniform(0, 0.3, n) * (chance.random(n) < 0.2)
    blocks = int(f["blocks"][0])
    f["bleed_on"][:blocks] = chance.random(blocks) < 0.3
    modules = int(f["modules"][0])
    f["module_set_kpa"][:modules] = chance.normal(0, 30, modules)
    f["module_gas_kpa"][:modules] = chance.uniform(0, 100, modules)


def tick(r, chance, amps):
    """(state before, state one tick earlier, pack current of each step, state after)."""
    r.step(10)  # tables and tangents now belong to the shaken state
    earlier = r.shot()
    r.step(10)
    before, currents = r.shot(), []
    for _ in range(10):
        r.current(chance.normal(0, amps)).step()
        currents.append(r["pack_current_a"])
    return before, earlier, np.array(currents), r.shot()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("blocks", "parallel"), SHAPES)
def test_a_tick_of_currents_charge_polarisation_and_heat_agrees(
    rig, chance, cell, blocks, parallel
):
    r = rig(blocks, parallel, cell=cell).close()
    c_rate_a = r.cell.electric.capacity_ah * parallel
    for bare, hot in ((False, 65.0), (True, 65.0), (False, 900.0)):
        shake(r, chance, degc=(-25.0, hot))  # bare: nothing but cells across a block
        if bare:
            r.set(bleed_on=0, cell_short_siemens=0.0)
        before, earlier, amps, after = tick(r, chance, c_rate_a)
        want = twin.electric_tick(before, earlier, amps, 1e-3)
        for name in ("soc_frac", "v1_v", "v2_v", "hysteresis", "current_a"):
            agree(name, twin.cells(after, f"cell_{name}"), want[name])
        agree("block voltage", twin.blocks(after, "block_voltage_v"), want["block_voltage_v"])
        heat = sum(value for name, value in want.items() if name.endswith("_j"))
        for name in ("ohmic", "transfer", "diffusion", "hysteresis", "reversible", "short", "leak"):
            field = f"cell_{name}_sum_j"
            booked = twin.cells(after, field) - twin.cells(before, field)
            total = float(np.abs(twin.cells(after, field)).max())  # booked is a small difference
            agree(name, booked, want[f"{name}_j"], scale=float(heat.max()) + 1e-5 * total)
        heat = heat + twin.cells(before, "cell_heat_w") * 1e-2
        agree("heat", twin.cells(after, "cell_heat_j"), heat)


@pytest.mark.parametrize(("blocks", "parallel"), SHAPES)
def test_a_tick_of_heat_agrees(rig, chance, blocks, parallel):
    r = rig(blocks, parallel).close()
    for failed in (0, 1):
        shake(r, chance)
        r.set(pump_failed=failed, heater_stuck=failed)
        before, _, _, after = tick(r, chance, 100.0)
        want = twin.heat_tick(before, twin.cells(after, "cell_heat_j"), 1e-2)
        for name in ("core_degc", "surface_degc"):
            got = twin.cells(after, f"cell_{name}")
            agree(name, got - twin.cells(before, f"cell_{name}"),
                  want[name] - twin.cells(before, f"cell_{name}"), scale=1e-3)  # fmt: skip
        for name in ("plate_degc", "coolant_degc"):
            agree(name, after[name][0] - before[name][0], want[name] - before[name][0], scale=1e-3)


@pytest.mark.parametrize(("blocks", "parallel"), SHAPES)
def test_stack_pressure_agrees(rig, chance, blocks, parallel):
    r = rig(blocks, parallel).close()
    for _ in range(3):
        shake(r, chance)
        before, _, _, after = tick(r, chance, 100.0)
        modules = int(after["modules"][0])
        want, settled = twin.pressure_tick(after, before, 1e-2)
        agree("pressure", after["module_pressure_kpa"][:modules], want)
        agree("set", after["module_set_kpa"][:modules], settled)


def until_tick(r, remainder, of):
    """Step to the end of the tick before one whose number leaves no remainder."""
    while r["step_in_tick"] or r["tick"] % of != remainder:
        r.step()


@pytest.mark.parametrize("critical", ("claimed", "literature"))
def test_voids_and_plating_margin_agree(rig, chance, critical):
    r = rig(24, 3, critical=critical).close()
    for amps in (900.0, -700.0, 2400.0):
        shake(r, chance)
        r.set(fuse_rating_a=1e6).current(amps)
        until_tick(r, 9, 10)
        before = r.shot()
        r.step(10)
        after = r.shot()
        charge = twin.cells(before, "cell_recent_as") + 1e-2 * twin.cells(after, "cell_current_a")
        void, lost = (twin.cells(before, f"cell_{n}") for n in ("void_frac", "void_lost_frac"))
        want = twin.contact_tick(after, void, lost, charge, 0.1)
        for name, value in want.items():
            agree(name, twin.cells(after, f"cell_{name}"), value)


def test_ageing_agrees(rig, chance):
    r = rig(24, 3, ageing_acceleration=1e5).close()
    shake(r, chance)
    r.current(200.0)
    until_tick(r, 99, 100)
    before = r.shot()
    r.step(10)
    after = r.shot()
    law = twin.law(after, "interphase_law", twin.cells(after, "cell_core_degc"))
    grown = {"interphase_ohm": "interphase_ohm", "calendar_frac": "calendar_frac"}
    for name, rate in grown.items():
        want = twin.sqrt_time_growth(
            twin.cells(before, f"cell_{name}"), twin.scalar(before, rate) * law, 1e5
        )
        agree(name, twin.cells(after, f"cell_{name}"), want)
    moved = twin.cells(after, "cell_throughput_as") - twin.cells(before, "cell_throughput_aged_as")
    cycles = 1e5 * moved / (2.0 * twin.cells(after, "cell_capacity_as"))
    for name, share in (
        ("cycled_frac", "cycle_loss_frac"),
        ("contact_loss_frac", "contact_loss_frac"),
    ):
        want = twin.cells(before, f"cell_{name}") + cycles * twin.scalar(before, share)
        agree(name, twin.cells(after, f"cell_{name}"), want)
    left = 1.0 - twin.cells(after, "cell_calendar_frac") - twin.cells(after, "cell_cycled_frac")
    want = np.maximum(0.05, left) * twin.cells(after, "cell_capacity_as")
    agree("capacity", twin.cells(after, "cell_capacity_now_as"), want)
    core = twin.cells(after, "cell_core_degc")
    agree("leak", twin.cells(after, "cell_leak_a"), twin.leak_a(after, core))


def test_runaway_reactions_agree(rig, chance):
    r = rig(24, 3)
    shake(r, chance, degc=(130.0, 260.0))
    r.step(100 + 10)  # seen hot; then ticks
    before = r.shot()
    r.step(10)
    after = r.shot()
    core = twin.cells(before, "cell_core_degc")
    hot = core > before["runaway_onset_degc"][0]
    assert hot.any() and not hot.all()
    heat = np.zeros_like(core)
    for stage in (1, 2):
        name = f"cell_reacted_{stage}"
        reacted = twin.cells(before, name)
        want = np.where(hot, twin.runaway_step(before, reacted, core, stage, 1e-2), reacted)
        agree(name, twin.cells(after, name), want)
        heat += (want - reacted) * before[f"runaway_{stage}_j"][0]
    booked = after["energy_reaction_j"][0] - before["energy_reaction_j"][0]
    assert booked == pytest.approx(heat.sum(), rel=1e-6)


@pytest.mark.parametrize("short_siemens", (0.0, 0.5))
def test_the_link_agrees(rig, chance, short_siemens):
    r = rig(96, 1).close().set(link_short_siemens=short_siemens).step(50)
    for _ in range(20):
        before, load = r.shot(), chance.normal(0, 300.0)
        r.current(load).step()
        ohm = before["string_ohm"][0] + before["cable_ohm"][0] + 2 * before["contactor_ohm"][0]
        link_v, amps = twin.link_step(
            before, before["link_voltage_v"][0], r["emf_sum_v"], ohm, load, 1e-3
        )
        agree("link", r["link_voltage_v"], link_v)
        agree("current", r["pack_current_a"], amps, scale=300.0)


def test_parallel_cells_split_the_current_as_a_linear_solver_does(rig, chance):
    r = rig(8, 12).close()
    shake(r, chance)
    r.set(bleed_on=1, cell_short_siemens=0.2).step(20).current(300.0).step(3)
    assert r["step_in_tick"] == 3
    before = r.shot()
    r.step()
    base, slope, moved, damp, v1, ohm = (
        twin.cells(before, f"cell_{name}")
        for name in ("base_v", "slope_v_per_c", "charge_c", "damp_1", "v1_v", "mid_ohm")
    )
    shunt = np.full(8, 12 * 0.2 + r["bleed_s"])
    emf = base - slope * moved - damp * v1
    voltage, current = twin.split(emf, ohm, shunt, r["pack_current_a"])
    agree("voltage", twin.blocks(r.f, "block_voltage_v"), voltage)
    agree("currents", twin.cells(r.f, "cell_charge_c") - moved, current * 1e-3)
    agree("sum", current.sum(axis=0) - shunt * voltage, np.full(8, r["pack_current_a"]))
