"""Measurement, estimation, limits: what the BMS says against what is."""

import numpy as np
import pytest


@pytest.mark.requirement("MEA-001")
@pytest.mark.needs("truth")
@pytest.mark.parametrize("soc_frac", [0.1, 0.5, 0.9])
def test_cell_voltages_at_rest(rig, recording, soc_frac):
    rig.bring_to("standby", soc_frac=soc_frac)
    rig.wait(5.0)
    truth = recording.signal("true_cell_voltage_v")
    high, low = float(truth.values.max()), float(truth.values.min())
    recording.signal("meas_cell_voltage_max_v").after(1.0).stays_within(high - 0.01, high + 0.01)
    recording.signal("meas_cell_voltage_min_v").after(1.0).stays_within(low - 0.01, low + 0.01)


@pytest.mark.requirement("MEA-002")
@pytest.mark.needs("truth")
@pytest.mark.parametrize("current_a", [-60.0, 5.0, 120.0])
def test_pack_current(rig, recording, current_a):
    rig.bring_to("normal")
    rig.load(current_a=current_a)
    rig.wait(6.0)
    measured = recording.signal("meas_pack_current_a").after(1.0)
    measured.stays_near(
        recording.signal("true_pack_current_a"), 0.02 * rig.pack.sensors.current_range_a
    )


@pytest.mark.requirement("MEA-003")
@pytest.mark.needs("truth")
@pytest.mark.parametrize("temperature_degc", [-10.0, 25.0, 45.0])
def test_temperatures_at_rest(rig, recording, temperature_degc):
    rig.bring_to("standby", temperature_degc=temperature_degc)
    rig.wait(5.0)
    near = (temperature_degc - 2.0, temperature_degc + 2.0)
    recording.signal("meas_temperature_max_degc").after(2.0).stays_within(*near)
    recording.signal("meas_temperature_min_degc").after(2.0).stays_within(*near)


@pytest.mark.requirement("EST-001")
@pytest.mark.needs("truth")
def test_state_of_charge_under_load(rig, recording):
    rig.bring_to("normal")
    rig.load(current_a=77.0)
    rig.wait(60.0)
    truth = recording.signal("true_soc_frac")
    recording.signal("est_soc_frac").after(2.0).stays_near(truth, 0.05)
    low = recording.signal("est_soc_low_frac").after(2.0)
    at = np.searchsorted(truth.time_s, low.time_s)
    low.never(lambda v: v > truth.values[np.clip(at, 0, truth.values.size - 1)] + 1e-3,
              "above the truth")  # fmt: skip


@pytest.mark.requirement("LIM-001")
@pytest.mark.needs("fault:CON-14")
def test_limits_are_zero_while_tripped(rig, recording):
    rig.bring_to("normal")
    rig.inject("CON-14")
    rig.wait(3.0)
    start_s = recording.trips.ever().at_s
    recording.signal("est_charge_limit_a").after(start_s, 0.5).stays_below(0.0)
    recording.signal("est_discharge_limit_a").after(start_s, 0.5).stays_below(0.0)
