"""Road load, house and sun against values worked out by hand."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from bms.plant import loads

CAR = loads.Vehicle(
    mass_kg=2000.0,
    drag_area_m2=0.6,
    rolling_coefficient=0.01,
    rotating_mass_factor=1.05,
    drive_efficiency_frac=0.9,
    regen_efficiency_frac=0.8,
    regen_share_frac=0.5,
    regen_power_max_w=30e3,
    drive_power_max_w=150e3,
    regen_full_kmh=7.0,
    auxiliaries_w=500.0,
)


def steady(speed_mps: float, grade: float = 0.0, ambient_degc: float = 20.0) -> float:
    return float(loads.road_load_w(np.full(2, speed_mps), grade, CAR, ambient_degc)[0])


def test_standing_costs_the_auxiliaries() -> None:
    assert steady(0.0) == 500.0


def test_steady_speed_is_the_textbook_sum() -> None:
    density = 101325.0 / (287.05 * 293.15)
    wheel = (0.5 * density * 0.6 * 30.0**2 + 0.01 * 2000.0 * 9.80665) * 30.0
    assert steady(30.0) == pytest.approx(wheel / 0.9 + 500.0, rel=1e-12)


def test_cold_air_is_denser() -> None:
    assert loads.air_density_kg_per_m3(20.0) == pytest.approx(1.204, abs=0.001)
    assert steady(30.0, ambient_degc=-20.0) > steady(30.0) * 1.05


def test_a_slope_lifts_the_weight() -> None:
    climb = steady(20.0, grade=0.05) - steady(20.0)
    angle = math.atan(0.05)
    by_hand = 2000.0 * 9.80665 * (math.sin(angle) + 0.01 * (math.cos(angle) - 1.0)) * 20.0 / 0.9
    assert climb == pytest.approx(by_hand, rel=1e-9)


def test_kinetic_energy_closes_over_an_acceleration() -> None:
    speed = np.linspace(0.0, 20.0, 101)
    slick = loads.Vehicle(
        mass_kg=1000.0, drag_area_m2=0.0, rolling_coefficient=0.0, rotating_mass_factor=1.1,
        drive_efficiency_frac=1.0, regen_efficiency_frac=1.0, regen_share_frac=1.0,
        regen_power_max_w=1e9, drive_power_max_w=1e9, regen_full_kmh=7.0, auxiliaries_w=0.0,
    )  # fmt: skip
    energy_j = float(np.sum(loads.road_load_w(speed, 0.0, slick, 20.0))) * loads.STEP_S
    assert energy_j == pytest.approx(0.5 * 1.1 * 1000.0 * 20.0**2, rel=1e-9)


def test_braking_gives_back_a_share_up_to_a_limit() -> None:
    gentle = loads.road_load_w(np.array([20.0, 19.95]), 0.0, CAR, 20.0)[0]
    v, a = 19.975, -0.5
    density = loads.air_density_kg_per_m3(20.0)
    wheel = (0.5 * density * 0.6 * v * v + 196.133 + 1.05 * 2000.0 * a) * v
    assert wheel < 0.0
    assert gentle == pytest.approx(wheel * 0.5 * 0.8 + 500.0, rel=1e-9)
    hard = loads.road_load_w(np.array([30.0, 29.5]), 0.0, CAR, 20.0)[0]
    assert hard == -30e3 + 500.0


def test_full_throttle_meets_the_motors_limit() -> None:
    assert loads.road_load_w(np.array([30.0, 30.5]), 0.0, CAR, 20.0)[0] == 150e3 + 500.0


def test_recuperation_fades_near_standstill() -> None:
    def given_back(kmh: float) -> float:
        v = kmh / 3.6
        return float(500.0 - loads.road_load_w(np.array([v + 0.05, v - 0.05]), 0.0, CAR, 20.0)[0])

    assert given_back(3.0) == 0.0
    assert given_back(5.25) == pytest.approx(given_back(7.5) * 0.5 * 5.25 / 7.5, rel=0.02)
    assert given_back(7.5) > given_back(6.0) > given_back(4.0) > 0.0


@pytest.mark.parametrize("name", sorted(loads.VEHICLES))
def test_every_vehicle_uses_plausible_energy_on_the_nedc(name: str) -> None:
    speed, grade = loads.resample(loads.nedc())
    power = loads.road_load_w(speed, grade, loads.VEHICLES[name], 25.0)
    kwh_per_100km = float(np.sum(power)) * loads.STEP_S / 3.6e6 / 11.03 * 100.0
    low, high = {"sedan": (11.0, 16.0), "eqs": (10.0, 15.0), "bus": (60.0, 110.0)}[name]
    assert low < kwh_per_100km < high


def test_half_sine_is_the_sine() -> None:
    for x in np.linspace(-0.2, 1.2, 57):
        expected = math.sin(math.pi * x) if 0.0 < x < 1.0 else 0.0
        assert loads.half_sine(float(x)) == pytest.approx(expected, abs=1e-10)


HOUSE = loads.House(
    load_w=tuple(float(100 + h) for h in range(24)),
    start_hour=0.0,
    outage_from_hour=2.0,
    outage_until_hour=15.0,
    solar_peak_w=1000.0,
    sunrise_hour=6.0,
    sunset_hour=18.0,
    cloud_frac=0.0,
    cloud_s=600.0,
    inverter_efficiency_frac=0.9,
    inverter_power_max_w=800.0,
    standby_w=10.0,
)


def test_the_pack_carries_the_house_only_in_the_outage() -> None:
    power = loads.house_w(HOUSE, 86400.0, 3600.0, seed=1)
    assert power[0] == power[1] == 0.0  # grid
    assert power[3] == pytest.approx((103.0 + 10.0) / 0.9)  # outage, night
    assert power[12] == pytest.approx(-(1000.0 - 112.0 - 10.0) * 0.9)  # outage, noon
    assert power[16] == pytest.approx(-(500.0 - 116.0) * 0.9)  # grid, sun left over
    assert power[20] == 0.0


def test_the_inverter_has_a_limit() -> None:
    sunny = msgspec.structs.replace(HOUSE, solar_peak_w=5e3)
    assert loads.house_w(sunny, 86400.0, 3600.0, seed=1).min() == -800.0


def test_clouds_come_from_the_seed_and_only_darken() -> None:
    cloudy = msgspec.structs.replace(HOUSE, cloud_frac=0.6)
    one, again, two = (loads.house_w(cloudy, 86400.0, 600.0, seed) for seed in (1, 1, 2))
    assert one.tobytes() == again.tobytes() != two.tobytes()
    assert np.all(one >= loads.house_w(HOUSE, 86400.0, 600.0, 1))
