"""A charger that speaks Elcon charges the pack, told only by frames on the bus."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from bms import Simulation
from bms.links import FRAME_DTYPE
from bms.protocols import CanFrame, elcon
from bms.protocols.packview import PackView

EXTENDED = 1


@dataclass
class Gateway:
    """What `bms face elcon` does, in virtual time: it hears the bus and commands once a second."""

    simulation: Simulation
    view: PackView = field(default_factory=PackView)
    statuses: list[elcon.Status] = field(default_factory=list)
    commands: list[elcon.Command] = field(default_factory=list)
    speaks: bool = True

    def second(self) -> None:
        """One second of the world, then what the gateway says."""
        world, now_s = self.simulation.world, self.simulation.time_s
        world.run(1000)
        frames, lost = world.take_frames(0)
        assert lost == 0
        for f in frames:
            data = bytes(f["data"][: f["length"]])
            if f["flags"] == 0:
                self.view.hear(now_s, int(f["id"]), data)
            elif f["flags"] == EXTENDED:
                told = elcon.decode(CanFrame(int(f["id"]), data, True))
                if isinstance(told, elcon.Status):
                    self.statuses.append(told)
        for wire in elcon.frames(self.view, now_s) if self.speaks else []:
            told = elcon.decode(wire)
            assert isinstance(told, elcon.Command)
            self.commands.append(told)
            batch = np.zeros(1, FRAME_DTYPE)
            batch["id"], batch["flags"], batch["length"] = wire.can_id, EXTENDED, 8
            batch["data"][0, :8] = np.frombuffer(wire.data, np.uint8)
            assert world.put_frames(0, batch) == 1


@pytest.fixture
def gateway() -> Gateway:
    simulation = Simulation("fast_charge_15_90", seed=1)
    simulation.world.parts["vehicle"]["charger_speaks"][0] = 1
    simulation.world.tap_frames(0, 4096)
    charge = next(phase for phase in simulation.plan.phases if phase.kind == "charge")
    simulation._enter(charge)
    return Gateway(simulation)


def test_the_charger_follows_the_advertised_limits_and_stops_without_commands(
    gateway: Gateway,
) -> None:
    plant = gateway.simulation.world.parts["plant"]
    vehicle = gateway.simulation.world.parts["vehicle"]
    for _ in range(25):
        gateway.second()
    current_a = -float(plant["pack_current_a"][0])
    limit_a = float(vehicle["obs_charge_limit_a"][0])
    command = gateway.commands[-1]
    assert not command.stop and 0.0 < command.current_da / 10.0 <= limit_a + 0.1
    wanted_a = float(vehicle["charge_current_a"][0])
    assert current_a > 1.0
    in_force = gateway.commands[-2]  # the last one was given after this second
    assert current_a <= min(in_force.current_da / 10.0, wanted_a) + 0.5
    assert gateway.statuses[-1].current_da == pytest.approx(-10.0 * current_a, abs=20)
    assert gateway.statuses[-1].flags == 0

    gateway.speaks = False
    for _ in range(4):
        gateway.second()
    assert -float(plant["pack_current_a"][0]) > 1.0, "it stopped before its five seconds"
    for _ in range(4):
        gateway.second()
    assert abs(float(plant["pack_current_a"][0])) < 1.0
    assert gateway.statuses[-1].flags == elcon.NO_COMMANDS


def test_without_a_single_command_nothing_flows(gateway: Gateway) -> None:
    gateway.speaks = False
    plant = gateway.simulation.world.parts["plant"]
    largest_a = 0.0
    for _ in range(15):
        gateway.second()
        largest_a = max(largest_a, abs(float(plant["pack_current_a"][0])))
    assert gateway.view.is_closed
    assert float(plant["charger_current_a"][0]) == 0.0
    assert largest_a < 1.0
