"""What runs inside the FMU: FMI variables over the fields of the plant.

Inputs act from the next step on; outputs are the plant's state after it. The plant moves in whole
milliseconds: a communication point between two of them is served by the one before.
"""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from pythonfmu3 import (
    Boolean,
    DefaultExperiment,
    Dimension,
    Float64,
    Fmi3Causality,
    Fmi3Initial,
    Fmi3Slave,
    Fmi3StepResult,
    Fmi3Variability,
    Int32,
    Unit,
)

from bms import _plant
from bms.model import Cell, Pack
from bms.plant import build

STEPS_A_SECOND = 1000
COILS = ("main_plus_closed", "main_minus_closed", "precharge_closed")


class Input(NamedTuple):
    """A scalar the importer writes."""

    name: str
    field: str
    unit: str
    text: str


class Output(NamedTuple):
    """A field of the plant the importer reads; `of` names what a vector has one of."""

    name: str
    field: str
    unit: str
    text: str
    of: str = ""


INPUTS = (
    Input("load_current_a", "load_current_a", "A", "in load mode 1, positive discharges"),
    Input("load_power_w", "load_power_w", "W", "in load mode 2, positive discharges"),
    Input("charger_current_a", "charger_current_a", "A", "in load mode 3, a magnitude"),
    Input("charger_voltage_v", "charger_voltage_v", "V", "in load mode 3, not exceeded"),
    Input("heater_frac", "heater_frac", "", "duty of the heater, 0 to 1"),
    Input("pump_frac", "pump_frac", "", "duty of the coolant pump, 0 to 1"),
    Input("ambient_degc", "ambient_degc", "degC", "air round the pack and its radiator"),
)
OUTPUTS = (
    Output("pack_voltage_v", "pack_voltage_v", "V", "at the pack, before the contactors"),
    Output("link_voltage_v", "link_voltage_v", "V", "behind the contactors"),
    Output("pack_current_a", "pack_current_a", "A", "positive discharges"),
    Output("pack_soc_frac", "pack_soc_frac", "", "0 when the weakest block is empty"),
    Output("coolant_degc", "coolant_degc", "degC", "coolant"),
    Output("insulation_kohm", "insulation_kohm", "kOhm", "both poles to chassis"),
    Output("block_voltage_v", "block_voltage_v", "V", "of each block", "blocks"),
    Output("module_pressure_kpa", "module_pressure_kpa", "kPa", "stack pressure", "modules"),
    Output("cell_soc_frac", "cell_soc_frac", "", "of each cell", "cells"),
    Output("cell_current_a", "cell_current_a", "A", "of each cell, positive discharges", "cells"),
    Output("cell_core_degc", "cell_core_degc", "degC", "core of each cell", "cells"),
    Output("cell_surface_degc", "cell_surface_degc", "degC", "skin of each cell", "cells"),
)
UNITS: dict[str, dict[str, Any]] = {
    "A": {"A": 1}, "V": {"kg": 1, "m": 2, "s": -3, "A": -1}, "W": {"kg": 1, "m": 2, "s": -3},
    "degC": {"K": 1, "offset": 273.15}, "kPa": {"kg": 1, "m": -1, "s": -2, "factor": 1e3},
    "kOhm": {"kg": 1, "m": 2, "s": -3, "A": -2, "factor": 1e3},
}  # fmt: skip


class SolidBmsPack(Fmi3Slave):  # type: ignore[misc]
    """One pack behind its contactors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        text = (Path(self.resources) / "pack.json").read_bytes()
        told = json.loads(text)
        self.pack, self.cell = (
            msgspec.convert(told["pack"], Pack),
            msgspec.convert(told["cell"], Cell),
        )
        self.critical = told["critical"]
        self.guid = uuid.uuid5(uuid.NAMESPACE_OID, text.decode())
        self.description = f"{self.pack.name}: {self.pack.title}, cell {self.cell.name}"
        self.default_experiment = DefaultExperiment(start_time=0.0, stop_time=60.0, step_size=0.01)
        self.register_units([Unit(name, **base) for name, base in UNITS.items()])
        self.soc_start_frac, self.temperature_start_degc = 0.8, 25.0
        self.ambient_start_degc, self.seed = 25.0, 1
        self.plant = _plant.Plant()
        self.steps_done, self.start_s, self.time = 0, 0.0, 0.0
        self._fill()
        self.register_variable(
            Float64(
                "time", causality=Fmi3Causality.independent,
                variability=Fmi3Variability.continuous, description="simulation time (s)",
            )
        )  # fmt: skip
        self._parameters()
        self._inputs()
        self._outputs()

    # ---- the variables ----

    def _parameters(self) -> None:
        fixed: dict[str, Any] = {
            "causality": Fmi3Causality.parameter, "variability": Fmi3Variability.fixed,
            "initial": Fmi3Initial.exact,
        }  # fmt: skip
        for name, unit, text in (
            ("soc_start_frac", None, "mean state of charge at the start"),
            ("temperature_start_degc", "degC", "of cells, plate and coolant at the start"),
            ("ambient_start_degc", "degC", "of the air at the start"),
        ):
            self.register_variable(Float64(name, unit=unit, description=text, **fixed))
        self.register_variable(Int32("seed", description="of all differences of cells", **fixed))

    def _inputs(self) -> None:
        driven: dict[str, Any] = {"causality": Fmi3Causality.input}
        stepwise = {**driven, "variability": Fmi3Variability.discrete}
        for bit, name in enumerate(("main_plus", "main_minus", "precharge")):
            self.register_variable(
                Boolean(
                    name, description="coil driven",
                    getter=lambda b=bit: self._bit("coil_command", b),
                    setter=lambda on, b=bit: self._drive(b, on), **stepwise,
                )
            )  # fmt: skip
        self.register_variable(
            Int32(
                "load_mode", description="0 open, 1 current, 2 power, 3 charger",
                getter=lambda: int(self.plant.fields["load_mode"][0]),
                setter=lambda mode: self._write("load_mode", min(max(mode, 0), 3)), **stepwise,
            )
        )  # fmt: skip
        for name, field, unit, text in INPUTS:
            self.register_variable(
                Float64(
                    name, unit=unit or None, description=text, **driven,
                    variability=Fmi3Variability.continuous,
                    getter=lambda f=field: float(self.plant.fields[f][0]),
                    setter=lambda x, f=field: self._write(f, x),
                )
            )  # fmt: skip

    def _outputs(self) -> None:
        t = self.pack.topology
        counts = {
            "blocks": t.blocks, "modules": t.blocks // t.blocks_per_module,
            "cells": t.blocks * t.parallel,
        }  # fmt: skip
        told: dict[str, Any] = {"causality": Fmi3Causality.output}
        for bit, name in enumerate(COILS):
            self.register_variable(
                Boolean(
                    name, description="contacts touch", variability=Fmi3Variability.discrete,
                    getter=lambda b=bit: self._bit("contactor_closed", b), **told,
                )
            )  # fmt: skip
        for name, field, unit, text, of in OUTPUTS:
            size = counts.get(of, 0)
            self.register_variable(
                Float64(
                    name, unit=unit or None, description=text, **told,
                    variability=Fmi3Variability.continuous,
                    dimensions=[Dimension(start=str(size))] if size else [],
                    getter=lambda f=field, n=size: self._read(f, n),
                )
            )  # fmt: skip

    def _bit(self, field: str, bit: int) -> bool:
        return bool(self.plant.fields[field][0] >> bit & 1)

    def _drive(self, bit: int, is_on: bool) -> None:
        coils = int(self.plant.fields["coil_command"][0]) & ~(1 << bit)
        self._write("coil_command", coils | bool(is_on) << bit)

    def _write(self, field: str, value: float) -> None:
        if np.isfinite(value):
            self.plant.fields[field][0] = value

    def _read(self, field: str, size: int) -> float | list[float]:
        values = self.plant.fields[field]
        return values[:size].tolist() if size else float(values[0])

    # ---- the life of the unit ----

    def _fill(self) -> None:
        """A pack at rest with the parameters as they are now; inputs keep their values."""
        fields = self.plant.fields
        kept = {name: fields[name].copy() for name in build.INPUTS} if self.vars else {}
        build.fill(
            fields, self.cell, self.pack, seed=int(self.seed),
            soc_frac=float(self.soc_start_frac),
            temperature_degc=float(self.temperature_start_degc),
            ambient_degc=float(self.ambient_start_degc), critical=self.critical,
        )  # fmt: skip
        for name, values in kept.items():
            fields[name][:] = values
        self.plant.init()

    def setup_experiment(self, start_time: float) -> None:
        """The importer's time at which the plant's begins."""
        self.start_s = start_time

    def exit_initialization_mode(self) -> None:
        """Parameters are known now."""
        self._fill()
        self.steps_done = 0

    def do_step(self, current_time: float, step_size: float) -> Fmi3StepResult:
        """Up to the last whole millisecond of the step."""
        wanted = int((current_time + step_size - self.start_s) * STEPS_A_SECOND + 1e-6)
        self.plant.step(max(0, wanted - self.steps_done))
        self.steps_done = max(wanted, self.steps_done)
        self.time = current_time + step_size
        return Fmi3StepResult()

    def _get_fmu_state(self) -> dict[str, Any]:
        memory = base64.b64encode(self.plant.snapshot()).decode()
        return {"memory": memory, "steps_done": self.steps_done, "start_s": self.start_s}

    def _set_fmu_state(self, state: dict[str, Any]) -> None:
        self.plant.restore(base64.b64decode(state["memory"]))
        self.steps_done, self.start_s = state["steps_done"], state["start_s"]
