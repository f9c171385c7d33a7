"""The peer of the closed loop: the same job put together from what Python offers.

One 10 ms control tick for n cells in series: a vectorised NumPy plant (2 RC, OCV, two thermal
nodes), a vectorised NumPy EKF of three states a cell, the vehicle frames encoded by cantools,
carried by python-can's virtual bus and decoded again. No monitor chips, no serial bytes, no
contactors: less than our loop does."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

FRAMES_A_TICK = 10  # as many as our loop has on the vehicle bus at 96 cells


class Plant:
    """Two RC elements and two thermal nodes a cell, explicit Euler."""

    def __init__(self, n: int) -> None:
        self.soc, self.v1, self.v2 = np.full(n, 0.8), np.zeros(n), np.zeros(n)
        self.core, self.surface = np.full(n, 25.0), np.full(n, 25.0)
        self.grid = np.linspace(0.0, 1.0, 129)
        self.ocv = 3.0 + 1.2 * self.grid

    def step(self, current_a: float, dt: float) -> Array:
        """Cell voltages after dt seconds at a current, positive on discharge."""
        r0 = 0.8e-3 * np.exp(4177.0 * (1 / (self.core + 273.15) - 1 / 298.15))
        ocv = np.interp(self.soc, self.grid, self.ocv)
        self.v1 += dt / 0.3 * (0.3e-3 * current_a - self.v1)
        self.v2 += dt / 60.0 * (0.4e-3 * current_a - self.v2)
        voltage = ocv - self.v1 - self.v2 - r0 * current_a
        heat = current_a * (ocv - voltage)
        flow = 2.0 * (self.core - self.surface)
        self.core += dt / 500.0 * (heat - flow)
        self.surface += dt / 200.0 * (flow - 0.5 * (self.surface - 25.0))
        self.soc -= dt * current_a / (77.0 * 3600.0)
        return np.asarray(voltage)


class Filter:
    """EKF of SoC and two polarisations a cell, six numbers of covariance, structure of arrays."""

    def __init__(self, n: int) -> None:
        self.x = np.zeros((3, n))
        self.x[0] = 0.8
        self.p = np.tile(np.array([1e-3, 0, 0, 1e-6, 0, 1e-6])[:, None], (1, n))
        self.grid = np.linspace(0.0, 1.0, 129)
        self.ocv = 3.0 + 1.2 * self.grid

    def step(self, current_a: float, voltage: Array, dt: float) -> None:
        """Predict over dt seconds and correct with the cell voltages."""
        a1, a2 = 1 - dt / 0.3, 1 - dt / 60.0
        z, v1, v2 = self.x
        z = z - dt * current_a / (77.0 * 3600.0)
        v1 = a1 * v1 + (1 - a1) * 0.3e-3 * current_a
        v2 = a2 * v2 + (1 - a2) * 0.4e-3 * current_a
        p00, p01, p02, p11, p12, p22 = self.p
        p00, p11, p22 = p00 + 1e-9, a1 * a1 * p11 + 1e-8, a2 * a2 * p22 + 1e-8
        p01, p02, p12 = a1 * p01, a2 * p02, a1 * a2 * p12
        slope = 1.2
        g0, g1, g2 = p00 * slope - p01 - p02, p01 * slope - p11 - p12, p02 * slope - p12 - p22
        s = g0 * slope - g1 - g2 + 4e-6
        error = voltage - (np.interp(z, self.grid, self.ocv) - v1 - v2 - 0.8e-3 * current_a)
        k0, k1, k2 = g0 / s, g1 / s, g2 / s
        self.x = np.stack((z + k0 * error, v1 + k1 * error, v2 + k2 * error))
        self.p = np.stack(
            (
                p00 - k0 * g0,
                p01 - k0 * g1,
                p02 - k0 * g2,
                p11 - k1 * g1,
                p12 - k1 * g2,
                p22 - k2 * g2,
            )
        )


class Bus:
    """A tick's frames through cantools and python-can's virtual bus."""

    def __init__(self) -> None:
        import can

        from bms import spec

        self.message = spec.database().get_message_by_name("BmsPack")
        self.values = {s.name: 0.0 for s in self.message.signals} | {"PackVoltage": 350.0}
        self.frame = can.Message
        self.sender = can.Bus(interface="virtual", channel="bench-loop")
        self.receiver = can.Bus(interface="virtual", channel="bench-loop")

    def step(self) -> None:
        """Encode, carry and decode the frames of one tick."""
        for _ in range(FRAMES_A_TICK):
            data = self.message.encode(self.values)
            self.sender.send(
                self.frame(arbitration_id=self.message.frame_id, data=data, is_extended_id=False)
            )
            received = self.receiver.recv(0)
            assert received is not None
            self.message.decode(bytes(received.data))

    def close(self) -> None:
        """Leave the bus."""
        self.sender.shutdown()
        self.receiver.shutdown()


def realtime_factor(n: int, ticks: int) -> float:
    """Simulated seconds per second of the composed loop with n cells."""
    plant, bank, bus = Plant(n), Filter(n), Bus()
    try:
        started = time.perf_counter()
        for k in range(ticks):
            current_a = 60.0 if k % 200 < 100 else -30.0
            bank.step(current_a, plant.step(current_a, 0.01), 0.01)
            bus.step()
        return ticks * 0.01 / (time.perf_counter() - started)
    finally:
        bus.close()
