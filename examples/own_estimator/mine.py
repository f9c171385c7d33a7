"""Coulomb counting that leans on the OCV at rest, as a class.

bms bench accuracy --estimator mine:Mine --only closed_loop
"""

import numpy as np


class Mine:
    """What `bms bench accuracy --estimator` asks for: start and step."""

    def start(self, cell, n_cells):
        """Of one kind of cell, n_cells in series."""
        self.electric = cell.electric
        self.capacity_as = cell.electric.capacity_ah * 3600.0
        self.soc0 = None  # set after start to what estimators are told, or left as None
        self.soc = None
        self.before_a = self.calm_s = 0.0

    def step(self, dt_s, current_a, voltage_v, temperature_degc, pressure_kpa):
        """Charge (n_cells,) after these readings; NaN is no reading."""
        rested = np.interp(voltage_v, self.electric.ocv_v, self.electric.ocv_soc_frac)
        if self.soc is None:
            first = rested if self.soc0 is None else self.soc0
            self.soc = np.where(np.isfinite(first), first, 0.5)
        self.soc = self.soc - 0.5 * (self.before_a + current_a) * dt_s / self.capacity_as
        self.before_a = current_a
        self.calm_s = self.calm_s + dt_s if abs(current_a) < self.capacity_as / 180e3 else 0.0
        if self.calm_s > 60.0:
            self.soc = self.soc + 0.01 * np.nan_to_num(rested - self.soc)
        return self.soc
