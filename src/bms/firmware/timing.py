"""How long each diagnosis takes by its own construction, from a configuration and the table alone.

    handling time = sensor period + window + fresh samples + decision period + transport

Inputs are taken each millisecond. A fault that begins just after a sample was taken waits a whole
period for the next one, and for the line while another question is on its way; that sample travels;
`window` is what the trigger itself looks at; then so many more samples come, or the bound in
time ends the count first; and the decision is taken at once, or in the next tick of 10 ms.
`ext/firmware/config_check.c` computes the same, so that the control unit refuses what this refuses.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bms import _firmware, spec
from bms.errors import ConfigError
from bms.model import Frozen

TICK_MS = 10.0  # of protect.c
GPIO_MS = 100.0  # between readings of thermistors and pressures (afe.c)
SENSOR_MS = 10.0  # between frames of the current sensor, which are means over as long
SENSOR_TRANSPORT_MS = 2.0  # a frame, behind another one
INSULATION_MS = 1000.0  # between frames of the insulation monitor
REQUEST_MS = 10.0  # between requests of the vehicle
OPEN_MARGIN_MS = 20.0  # after a contactor's travel, before a current through it is believed
PRECHARGE_LOOK_MS = 10.0  # after that travel, the link must have begun to rise
CONFIG_BYTES = 23  # of a chip's configuration, read back
CONFIG_MS = 80.0  # so often


class Prediction(Frozen, frozen=True):
    """`predicted_ms` is the sum of `parts` (name, ms)."""

    budget_ms: float
    predicted_ms: float
    parts: tuple[tuple[str, float], ...]


def decode(config: bytes) -> dict[str, np.ndarray]:
    """Fields of a configuration by name. ConfigError for one of another size."""
    size = _firmware.config_constants()["size"]
    if len(config) != size:
        raise ConfigError("", "config", f"{len(config)} bytes", f"{size} bytes of this firmware")
    return {
        name: np.frombuffer(config, dtype, count, offset)
        for name, _unit, _text, offset, count, dtype in _firmware.config_fields()
    }


def predict(config: bytes) -> dict[str, Prediction]:
    """For every diagnosis by name: its budget and what it takes at most under this configuration.

    config: as `bms.firmware.config.build` gives it."""
    values = decode(config)
    return {row.name: _of(row, values) for row in spec.diagnoses()}


def line_ms(values: Mapping[str, np.ndarray], data_bytes: int) -> float:
    """From a question to all chips until the last answer of `data_bytes` each, at most."""
    chips = int(values["modules"][0])
    return (7 + (data_bytes + 6) * chips) // 100 + 1 + float(values["line_delay_ms"][0])


def line_one(values: Mapping[str, np.ndarray]) -> float:
    """From a question of one byte to a single chip until its answer, at most."""
    return 1.0 + float(values["line_delay_ms"][0])


def _probes(chips: int) -> int:
    """Questions until the last chip that answers is found: the first one twice, then by halves."""
    return 2 + chips.bit_length()


def scan_ms(values: Mapping[str, np.ndarray]) -> float:
    """Between two readings of the cells."""
    return 20.0 if values["modules"][0] <= 12 else 40.0


def _window_ms(row: spec.Diagnosis, values: Mapping[str, np.ndarray]) -> float:
    """What the trigger looks at before a sample can be bad."""
    scan = scan_ms(values)
    feedback, config = float(values["feedback_ms"][0]), line_ms(values, CONFIG_BYTES)
    chips = int(values["modules"][0])
    cells = line_ms(values, 2 * int(values["blocks_per_module"][0]))
    of = {
        "cell_voltage_unknown": float(row.thresholds[2]),
        "cell_frozen": float(values["frozen_scans"][0]) * scan,
        "afe_frozen": float(values["frozen_frames"][0]) * scan,
        "current_while_open": feedback + OPEN_MARGIN_MS,
        "contactor_main_plus": feedback,
        "contactor_main_minus": feedback,
        "contactor_precharge": feedback,
        "precharge_current": feedback + PRECHARGE_LOOK_MS,
        "memory_corrupt": 2.0 * row.window_ms,  # a change may come just behind the look
        "precharge_timeout": float(values["precharge_max_ms"][0]),
        "contactor_weld": float(values["link_weld_ms"][0]),
        # read, written again in a dozen commands, read again 20 ms later
        "afe_config": CONFIG_MS + cells + 3.0 * config + 12.0 + 20.0,
        # silence; near and far end found by halving; turned, four addresses a step
        "afe_ring_open": (
            scan
            + config
            + cells
            + 2.0 * _probes(chips) * (line_one(values) + 1.0)
            + 10.0
            + (chips + 4) // 4
        ),
        # three starts of the chain: wake, addresses, question
        "afe_count": 3.0 * (15.0 + 14.0 * chips + 10.0 + line_ms(values, 5)),
    }
    return of.get(row.name, float(row.window_ms))


def _of(row: spec.Diagnosis, values: Mapping[str, np.ndarray]) -> Prediction:
    scan, blocks = scan_ms(values), int(values["blocks_per_module"][0])
    cells, pins = line_ms(values, 2 * blocks), line_ms(values, 16)
    busy = line_ms(values, CONFIG_BYTES)
    wait, transport, period, decision = {
        "voltages": (scan + busy, cells, scan, 0.0),
        "gpio": (GPIO_MS + cells + busy, pins, GPIO_MS, 0.0),
        "current": (2.0 * SENSOR_MS, SENSOR_TRANSPORT_MS, SENSOR_MS, 0.0),
        "insulation": (INSULATION_MS, SENSOR_TRANSPORT_MS, INSULATION_MS, 0.0),
        "tick": (0.0, 0.0, TICK_MS, TICK_MS),
        "request": (REQUEST_MS, SENSOR_TRANSPORT_MS, REQUEST_MS, 0.0),
        "step": (0.0, 0.0, 1.0, 1.0),
        "event": (0.0, 0.0, 1.0, 1.0),
    }[row.sample]
    bound = row.debounce_ms + TICK_MS
    more = min((row.debounce_samples - 1) * period, bound)
    if row.name == "afe_link":  # the chain is started anew: no scan comes, the bound ends it
        more = bound
    parts = (
        ("step", 1.0),
        ("sensor", wait),
        ("transport", transport),
        ("window", _window_ms(row, values)),
        ("samples", more),
        ("decision", decision),
    )
    kept = tuple((name, ms) for name, ms in parts if ms)
    return Prediction(float(row.deadline_ms), sum(ms for _, ms in kept), kept)


def check(config: bytes, file: str = "") -> None:
    """ConfigError for the first diagnosis that cannot meet its budget: one shorter than sensor
    period and transport, or a reaction longer than it."""
    for name, found in predict(config).items():
        path = sum(ms for part, ms in found.parts if part in ("sensor", "transport"))
        row = spec.diagnosis(name)
        if path > found.budget_ms:
            expected = f"a budget beyond sensor period and transport, {path:g} ms"
            raise ConfigError(file, f"{name}.deadline_ms", row.deadline_ms, expected)
        if found.predicted_ms > found.budget_ms:
            told = " + ".join(f"{part} {ms:g}" for part, ms in found.parts)
            expected = f"at most the budget of {found.budget_ms:g} ms ({told})"
            raise ConfigError(file, f"{name} reaction, ms", round(found.predicted_ms, 1), expected)
