"""Rules that compare runs: plausibility, redundancy, order of cells, mirror, balancing (S11, S12,
T3, T4, L3 of bms.invariants)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from bms import cells, packs
from bms.campaign import mutant
from bms.campaign.play import begin, do, play
from bms.campaign.story import Deed, Story, drawn
from bms.model import Pack
from bms.sim import Simulation


def story(*deeds: Deed, soc_frac: float = 0.5, seconds: float = 22.0) -> Story:
    quiet = (Deed(at_s=6.0, word="request", value=1.0), Deed(at_s=9.0, word="load", value=0.2))
    ordered = tuple(sorted((*quiet, *deeds), key=lambda deed: deed.at_s))
    return drawn(
        3, pack="bench_16s1p", soc_frac=soc_frac, degc=25.0, duration_s=seconds, deeds=ordered,
        boot_ms=20, phase_ms=0,
    )  # fmt: skip


def tripped_s(told: Story, firmware: Path | None = None) -> float:
    """When the contactors opened for a trip after the fault; infinite for never."""
    events = play(told, firmware=firmware, events=True).events
    times = [e.t_ns * 1e-9 for e in events if e.kind == "state" and e.name == "error"]
    return min((t for t in times if 12.0 <= t <= told.duration_s), default=np.inf)


@pytest.mark.parametrize("id", ["CEL-02", "CEL-04", "SEN-02", "SEN-06", "PRS-02"])
def test_a_rule_of_plausibility_makes_no_verdict_milder(id: str, tmp_path: Path) -> None:
    """S11: without the rules that hold readings against each other nothing trips sooner."""
    names = "PACK_VOLTAGE_MISMATCH MODULE_VOLTAGE_MISMATCH CELL_IMBALANCE TEMPERATURE_SPREAD"
    ids = " || ".join(f"id == DIAG_{name}" for name in names.split())
    patch = tmp_path / "no_rules.diff"
    patch.write_text(
        "--- a/ext/firmware/diag.c\n+++ b/ext/firmware/diag.c\n@@ -1,2 +1,3 @@\n"
        " void diag_judge(bms_t *self, uint32_t id, uint32_t tier, int32_t value, int32_t place)\n"
        f" {{\n+    if ({ids}) return;\n"
    )
    wrong = story(Deed(at_s=12.0, word="fault", id=id, for_s=9.0))
    without = mutant.build(patch, tmp_path)
    assert tripped_s(wrong) <= tripped_s(wrong, without) + 0.011


def with_thermistors(places: tuple[int, ...]) -> Pack:
    base = packs.load("bench_16s1p")
    sensors = msgspec.structs.replace(base.sensors, temperature_blocks=places)
    return msgspec.structs.replace(base, sensors=sensors)


def hot_at_s(places: tuple[int, ...]) -> float:
    """When a module heated from one end trips, its sensors free of errors."""
    simulation = Simulation("drive", pack=with_thermistors(places), seed=2)
    parts = simulation.world.parts
    parts["chips"]["temperature_offset_k"][:] = 0.0
    parts["vehicle"]["request"][0] = 1
    parts["plant"]["cell_surface_degc"][:16] = parts["plant"]["cell_core_degc"][:16] = 50.0
    parts["plant"]["cell_heat_w"][0] = 3000.0
    for tick in range(3000):
        simulation.world.run(100)
        if int(parts["vehicle"]["obs_state"][0]) in (7, 8):
            return tick * 0.1
    return np.inf


@pytest.mark.slow("three minutes of virtual time, twice")
def test_more_thermistors_never_make_the_verdict_milder() -> None:
    """S12."""
    assert hot_at_s((0, 3, 6, 9, 12, 15)) <= hot_at_s((0, 15)) + 0.2


def test_cells_in_another_order_give_the_same_readings_in_that_order() -> None:
    """T3: every block and its channel at another place of the module, at rest."""
    order = np.arange(16)[::-1]
    read = []
    for places in (np.arange(16), order):
        simulation = Simulation("drive", pack="bench_16s1p", seed=4)
        parts = simulation.world.parts
        for name in ("cell_gain_frac", "cell_offset_v", "cell_noise_v"):
            parts["chips"][name][:16] = 0.0
        parts["plant"]["cell_soc_frac"][:16] = (0.4 + 0.01 * np.arange(16))[places]
        simulation.world.start()
        simulation.world.run(5000)
        read.append(np.array(parts["vehicle"]["obs_cell_voltage_v"][:16]))
    assert np.isfinite(read[0]).all() and np.ptp(read[0]) > 0.02
    assert np.abs(read[0][order] - read[1]).max() < 0.002


@pytest.mark.parametrize("over", [1.05, 1.12])
def test_charge_and_discharge_are_judged_alike(over: float) -> None:
    """T4: as far beyond its trip limit, either current opens the contactors after the same time."""
    limits = cells.load("sulfide_nmc811_77ah").limits
    rated_a = cells.load("sulfide_nmc811_77ah").electric.capacity_ah
    times = []
    for amps in (over * limits.current_discharge_a[2], -over * limits.current_charge_a[2]):
        free = (
            Deed(at_s=12.0, word="obey", value=0.0),
            Deed(at_s=12.0, word="load", value=amps / rated_a),
        )
        times.append(tripped_s(story(*free)))
    assert max(times) < 12.5 and abs(times[0] - times[1]) < 0.03


@pytest.mark.slow("an hour of balancing")
def test_balancing_brings_blocks_together() -> None:
    """L3: one block 3 mV above the threshold is bled no lower than the others, and faster than a
    resistor of half the conductance would."""
    made = story(seconds=6.0)
    stage = begin(msgspec.structs.replace(made, deeds=(), soc_frac=0.8))
    parts = stage.simulation.world.parts
    parts["plant"]["cell_soc_frac"][5] += 0.03
    stage.simulation.world.start()
    do(stage, Deed(at_s=0.0, word="rest"))
    stage.run_to(60.0)
    first = np.ptp(parts["plant"]["cell_soc_frac"][:16])
    stage.run_to(3660.0)
    last = np.ptp(parts["plant"]["cell_soc_frac"][:16])
    pack, cell = stage.simulation.pack, stage.simulation.cell
    bled_ah = 3.9 / pack.balancing.bleed_ohm
    most, least = bled_ah / cell.electric.capacity_ah, 0.25 * bled_ah / cell.electric.capacity_ah
    assert least < first - last < 1.1 * most
