"""The current sensor and the insulation monitor as frames."""

import numpy as np
import pytest

from bms.protocols import CanFrame, imd, ivts
from bms.protocols.ivts import Command, Reply, Result


class Sensor:
    """An IVT-S on a bus of its own."""

    def __init__(self, parts, **options):
        self.ivt = parts(1, **options)[1]
        self.fields, self.now_us = self.ivt.fields, 0
        self.amps, self.pack_v, self.link_v = 0.0, 350.0, 340.0

    def step(self, *commands, out_max=32):
        frames = [(f.can_id, f.data) for f in map(ivts.encode, commands)]
        out = self.ivt.step(self.now_us, self.amps, self.pack_v, self.link_v, frames, out_max)
        self.now_us += 1000
        return [ivts.decode(CanFrame(*frame)) for frame in out]

    def run(self, ms):
        return [message for _ in range(ms) for message in self.step()]

    def last(self, channel, ms=150):
        return [m for m in self.run(ms) if isinstance(m, Result) and m.channel == channel][-1]


def test_results_come_at_their_periods_with_counters(parts):
    seen = Sensor(parts).run(1001)
    assert all(isinstance(m, Result) for m in seen)
    count = {k: sum(m.channel == k for m in seen) for k in range(8)}
    assert count == {0: 100, 1: 100, 2: 100, 3: 0, 4: 10, 5: 10, 6: 10, 7: 10}
    assert [m.counter for m in seen if m.channel == 1] == [k % 16 for k in range(100)]
    assert not any(m.any_error or m.result_error or m.over_current for m in seen)


def test_every_quantity_in_its_unit_and_positive_on_discharge(parts):
    sensor = Sensor(parts)
    sensor.amps = 120.0
    sensor.run(3600)
    assert sensor.last(0).raw == 120_000
    assert sensor.last(1).raw == 350_000 and sensor.last(2).raw == 340_000
    assert sensor.last(4).value == 25.0
    assert sensor.last(5).raw == 42_000
    seconds = sensor.now_us * 1e-6
    assert sensor.last(6).raw == pytest.approx(120.0 * (seconds + 0.1), abs=10)
    assert sensor.last(7).raw == pytest.approx(42_000 * sensor.now_us * 1e-6 / 3600, abs=3)
    sensor.amps = -120.0
    sensor.run(20)
    assert sensor.last(0).raw == -120_000 and sensor.last(5).raw == -42_000


def test_a_result_is_the_mean_of_its_cycle(parts):
    sensor = Sensor(parts)
    sensor.run(11)
    for k in range(10):
        sensor.amps = 100.0 if k < 5 else 0.0
        out = sensor.step()
    assert [m.raw for m in out if m.channel == 0] == [50_000]


def test_error_bits_when_out_of_range_or_told_to(parts):
    sensor = Sensor(parts)
    sensor.amps = 501.0
    result = sensor.last(0)
    assert result.raw == 500_000 and result.result_error and result.any_error
    other = sensor.last(1)
    assert other.any_error and not other.result_error
    sensor.amps = float("nan")
    assert sensor.last(0).result_error
    sensor.amps = 1.0
    assert not sensor.last(0).any_error
    sensor.fields["invalid"][0] = 1
    assert sensor.last(2).result_error and sensor.last(2).any_error


def test_what_can_be_broken(parts):
    sensor = Sensor(parts)
    sensor.amps = 10.0
    sensor.fields["sign_flip"][0] = 1
    assert sensor.last(0).raw == -10_000
    sensor.fields["frozen"][0] = 1
    sensor.amps = 50.0
    first, second = sensor.last(0), sensor.last(0)
    assert first.raw == second.raw == -10_000 and first.counter != second.counter
    sensor.fields["silent"][0] = 1
    assert sensor.run(200) == [] and sensor.step(Command(0x79)) == []


def test_stop_run_and_configuration(parts):
    sensor = Sensor(parts)
    assert sensor.step(Command(0x34, bytes(7))) == [Reply(0x34, bytes(7))]
    assert sensor.run(200) == []
    slow = Command(0x20, bytes([0x02, 0x00, 0x32, 0, 0, 0, 0]))  # current each 50 ms
    assert sensor.step(slow) == [Reply(0x20, bytes([0x02, 0x00, 0x32, 0, 0, 0, 0]))]
    u3 = Command(0x23, bytes([0x42, 0x00, 0x0A, 0, 0, 0, 0]))  # U3 each 10 ms, little endian
    sensor.step(u3)
    sensor.step(Command(0x34, bytes([1, 1, 0, 0, 0, 0, 0])))
    seen = sensor.run(1000)
    assert sum(m.channel == 0 for m in seen) == 20
    assert sum(m.channel == 3 for m in seen) == 100
    refused = sensor.step(Command(0x20, bytes([0x00, 0x00, 0x0A, 0, 0, 0, 0])))
    assert Reply(0x20, bytes([0x02, 0x00, 0x32, 0, 0, 0, 0])) in refused, "not while running"
    assert Reply(0x60, bytes([0x02, 0x00, 0x32, 0, 0, 0, 0])) in sensor.step(Command(0x60))


def test_trigger_reset_restart_and_identity(parts):
    sensor = Sensor(parts)
    sensor.amps = 100.0
    sensor.run(2000)
    sensor.step(Command(0x30))
    assert sensor.fields["charge_as"][0] < 1.0
    sensor.step(Command(0x34, bytes(7)))
    sensor.step(Command(0x20, bytes([0x01, 0, 10, 0, 0, 0, 0])))
    sensor.step(Command(0x34, bytes([1, 1, 0, 0, 0, 0, 0])))
    assert not [m for m in sensor.run(100) if m.channel == 0]
    seen = sensor.step(Command(0x31, bytes([0x01, 0, 0, 0, 0, 0, 0])))
    assert [m.raw for m in seen if isinstance(m, Result) and m.channel == 0] == [100_000]
    assert [m.alive for m in sensor.step(Command(0x3D)) if isinstance(m, Reply)] == [True]
    assert sum(m.channel == 0 for m in sensor.run(101)) == 10
    serial = int(sensor.fields["serial"][0]).to_bytes(4, "big")
    assert sensor.step(Command(0x7B))[0] == Reply(0x7B, serial + bytes(3))
    assert sensor.step(Command(0x0F))[0].refused


def test_over_current_signal_follows_its_limit(parts):
    sensor = Sensor(parts)
    sensor.step(Command(0x35, (200).to_bytes(2, "big") + bytes(5)))
    sensor.amps = 199.0
    assert not sensor.last(0).over_current
    sensor.amps = 201.0
    assert sensor.last(0).over_current


def test_errors_and_noise_are_those_asked_for(parts):
    sensor = Sensor(parts, ideal=False, current_noise_a=0.2, current_offset_a=0.5)
    f = sensor.fields
    sensor.amps = 100.0
    seen = np.array([m.value for m in sensor.run(20_000) if m.channel == 0])
    expected = 100.0 * (1 + f["current_gain_frac"][0]) + f["current_offset_a"][0]
    assert seen.mean() == pytest.approx(expected, abs=5 * 0.2 / len(seen) ** 0.5)
    assert seen.std() == pytest.approx(0.2, rel=0.08)


def test_a_full_bus_delays_results_but_loses_none(parts):
    sensor = Sensor(parts)
    seen = [m for _ in range(1008) for m in sensor.step(out_max=1)]
    assert [m.counter for m in seen if m.channel == 0] == [k % 16 for k in range(100)]
    assert sum(m.channel == 2 for m in seen) == 100
    assert {m.channel for m in seen} == {0, 1, 2, 4, 5, 6, 7}


def test_a_copy_of_the_sensor_goes_on_alike(parts):
    sensor = Sensor(parts, ideal=False)
    sensor.amps = 33.0
    sensor.run(555)
    saved, at_us = sensor.ivt.state(), sensor.now_us
    first = sensor.run(300)
    sensor.ivt.restore(saved)
    sensor.now_us = at_us
    assert sensor.run(300) == first


def insulation(monitor, ms, kohm, pack_v=350.0, start_us=0):
    out = []
    for k in range(ms):
        for can_id, data in monitor.step(start_us + 1000 * k, kohm, pack_v):
            out.append((k, imd.decode(CanFrame(can_id, data))))
    return out


def test_insulation_is_unknown_until_five_seconds_and_then_each_second(parts):
    seen = insulation(parts(1)[2], 8001, 4321.0)
    infos = [(ms, m) for ms, m in seen if isinstance(m, imd.Info)]
    assert [ms for ms, _ in infos] == [1000 * k for k in range(1, 9)]
    assert [m.insulation_kohm for _, m in infos] == [None] * 4 + [4321] * 4
    assert [m.state for _, m in infos] == ["starting"] * 4 + ["measuring"] * 4
    assert [m.counter for _, m in infos] == list(range(8))
    assert infos[-1][1].pack_voltage_dv == 3500
    reports = [(ms, m) for ms, m in seen if isinstance(m, imd.Response)]
    assert [(ms, m.self_test) for ms, m in reports] == [(5000, "passed")]


@pytest.mark.parametrize(("kohm", "shown"), [(0.0, 0), (1e9, 50_000), (float("nan"), 0), (0.6, 1)])
def test_insulation_clips_and_unknown_is_the_worst(parts, kohm, shown):
    assert insulation(parts(1)[2], 6001, kohm)[-1][1].insulation_kohm == shown


def test_insulation_error_and_faults(parts):
    monitor = parts(1)[2]
    monitor.fields["error_frac"][0] = -0.15
    assert insulation(monitor, 6001, 1000.0)[-1][1].insulation_kohm == 850
    monitor.fields["frozen"][0] = 1
    assert insulation(monitor, 2000, 20.0, start_us=6_001_000)[-1][1].insulation_kohm == 850
    monitor.fields["silent"][0] = 1
    assert insulation(monitor, 3000, 20.0, start_us=8_001_000) == []
    failed = parts(1)[2]
    failed.fields["self_test_fails"][0] = 1
    seen = [m for _, m in insulation(failed, 6001, 1000.0)]
    assert seen[-1].state == "failed" and not seen[-1].is_valid
    assert imd.Response("failed", int(failed.fields["serial"][0])) in seen
