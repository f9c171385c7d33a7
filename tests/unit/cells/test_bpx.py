"""BPX files become cells where the physics maps, and are refused by name where it does not."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from bms import cells
from bms.cells import bpx, bpx_file
from bms.cli import main
from bms.errors import ConfigError

REASON = "pip install 'solid-bms[bpx]'"
F, R, T = 96485.33212, 8.314462618, 298.15


def particle(ocp: Any, window: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {
        "Minimum stoichiometry": window[0], "Maximum stoichiometry": window[1],
        "Maximum concentration [mol.m-3]": 40000.0, "Particle radius [m]": 5e-6,
        "Surface area per unit volume [m-1]": 3.6e5, "Diffusivity [m2.s-1]": 2e-14,
        "OCP [V]": ocp, "Reaction rate constant [mol.m-2.s-1]": 1e-5,
        "Thickness [m]": 60e-6, "Conductivity [S.m-1]": 0.5, "Porosity": 0.3,
        "Transport efficiency": 0.16, **more,
    }  # fmt: skip


def file() -> dict[str, Any]:
    """A made-up pouch cell; both electrodes hold the same charge."""
    return {
        "Header": {"BPX": "1.0.0", "Title": "Made up", "Model": "DFN"},
        "Parameterisation": {
            "Cell": {
                "Electrode area [m2]": 0.02, "Volume [m3]": 2e-4,
                "External surface area [m2]": 0.05, "Density [kg.m-3]": 2000.0,
                "Number of electrode pairs connected in parallel to make a cell": 30,
                "Lower voltage cut-off [V]": 2.8, "Upper voltage cut-off [V]": 4.2,
                "Nominal cell capacity [A.h]": 17.0, "Reference temperature [K]": T,
                "Specific heat capacity [J.K-1.kg-1]": 1000.0,
            },
            "Electrolyte": {
                "Cation transference number": 0.3, "Diffusivity [m2.s-1]": "3e-10 + 0 * x",
                "Conductivity [S.m-1]": "1.2 * (x / 1000) ** 0.5",
                "Conductivity activation energy [J.mol-1]": 17000.0,
            },
            "Negative electrode": particle(
                "0.1 + 0.5 * exp(-40 * x) - 0.05 * tanh(10 * (x - 0.5))", (0.05, 0.75)
            ),
            "Positive electrode": particle(
                {"x": [0.0, 0.2, 0.6, 1.0], "y": [4.6, 4.4, 3.8, 3.1]}, (0.27, 0.97),
                **{"Entropic change coefficient [V.K-1]": -1e-4},
            ),
            "Separator": {"Thickness [m]": 2e-5, "Porosity": 0.5, "Transport efficiency": 0.4},
        },
        "State": {"Initial conditions": {"Initial electrolyte concentration [mol.m-3]": 1000.0}},
    }  # fmt: skip


def taken(tmp_path: Path, told: dict[str, Any], **options: Any) -> tuple[Any, list[str]]:
    pytest.importorskip("bpx", reason=REASON)
    (tmp_path / "made.json").write_text(json.dumps(told))
    sentences = bpx.import_bpx(tmp_path / "made.json", tmp_path / "made.toml", **options)
    return cells.load(tmp_path / "made.toml"), sentences


def test_charge_and_curve_are_those_of_the_electrodes(tmp_path):
    cell, _ = taken(tmp_path, file())
    volume = 0.02 * 30 * 60e-6
    coulomb = F * volume * (3.6e5 * 5e-6 / 3) * 40000.0 * 0.7
    assert cell.electric.capacity_ah == pytest.approx(coulomb / 3600, rel=1e-5)
    for soc, volts in zip(cell.electric.ocv_soc_frac, cell.electric.ocv_v, strict=True):
        x, y = 0.05 + 0.7 * soc, 0.97 - 0.7 * soc
        low = 0.1 + 0.5 * math.exp(-40 * x) - 0.05 * math.tanh(10 * (x - 0.5))
        high = 3.8 - (y - 0.6) * 0.7 / 0.4 if y > 0.6 else 4.4 - (y - 0.2) * 0.6 / 0.4
        assert volts == pytest.approx(min(max(high - low, 2.8), 4.2), abs=1e-3)
    assert set(cell.electric.entropic_v_per_k) == {-1e-4}
    assert cell.electric.ocv_v == tuple(sorted(cell.electric.ocv_v))


def test_resistances_are_the_small_current_limits(tmp_path):
    """The charge transfer against Butler-Volmer solved at a small current, by bisection."""
    cell, _ = taken(tmp_path, file())
    made, area = cell.resistance, 0.02 * 30
    path_m = 2 * 60e-6 / (3 * 0.16) + 2e-5 / 0.4
    assert made.electrolyte_ohm == pytest.approx(path_m / (1.2 * area), rel=1e-5)
    assert made.electrolyte_temperature.activation_ev == pytest.approx(17000 / F, rel=1e-5)
    assert made.contact_ohm == pytest.approx(2 * 60e-6 / (3 * 0.5 * area), rel=1e-5)
    drop_v, amps = 0.0, 0.01
    for x in (0.4, 0.62):
        exchange_a = F * 1e-5 * math.sqrt(x * (1 - x)) * 3.6e5 * 60e-6 * area
        low, high = 0.0, 0.1
        for _ in range(100):
            eta = 0.5 * (low + high)
            given = 2 * exchange_a * math.sinh(F * eta / (2 * R * T))
            low, high = (eta, high) if given < amps else (low, eta)
        drop_v += eta
    assert made.charge_transfer_ohm == pytest.approx(drop_v / amps, rel=1e-4)
    assert made.diffusion_tau_s == pytest.approx(25e-12 / (20.19 * 2e-14), rel=1e-4)
    assert 1e-4 < made.diffusion_ohm < 1e-2


def test_geometry_heat_and_limits(tmp_path):
    cell, _ = taken(tmp_path, file())
    made = cell.geometry
    assert made.format == "pouch" and made.layers == 30 and made.mass_kg == pytest.approx(0.4)
    box = made.length_m * made.width_m, made.thickness_m * (made.length_m + made.width_m)
    assert box[0] * made.thickness_m == pytest.approx(2e-4, rel=1e-4)
    assert 2 * sum(box) == pytest.approx(0.05, rel=1e-4)
    assert made.electrode_area_cm2 == pytest.approx(6000)
    assert cell.thermal.heat_capacity_j_per_kg_k == 1000.0
    assert cell.limits.voltage_min_v[0] == 2.8 and cell.limits.voltage_max_v[0] == 4.2
    assert bpx.body(math.pi * 0.009**2 * 0.065, 2 * math.pi * 0.009 * 0.074)[:2] == pytest.approx(
        ("cylindrical", 0.065)
    )
    assert bpx.body(1.0, 1.0) is None


def test_every_value_says_where_it_is_from(tmp_path):
    cell, sentences = taken(tmp_path, {**file(), "Validation": {}}, name="other")
    assert cell.name == "other"
    assert cell.provenance["geometry.mass_kg"].startswith("source: BPX file")
    assert "Kept from panasonic_18650pf" in cell.provenance["self_discharge.per_month_frac"]
    assert "in proportion" in cell.provenance["runaway.first.heat_j"]
    told = "\n".join(sentences)
    assert "not used: Electrolyte.Diffusivity" in told and "Porosity" in told


def change(*path: str, to: Any) -> dict[str, Any]:
    told = copy.deepcopy(file())
    *tables, last = path
    place = told
    for part in tables:
        place = place[part]
    if to is None:
        del place[last]
    else:
        place[last] = to
    return told


P = "Parameterisation"
NEGATIVE = (P, "Negative electrode")
BLEND = {
    "Thickness [m]": 60e-6, "Conductivity [S.m-1]": 0.5, "Porosity": 0.3,
    "Transport efficiency": 0.16, "Particle": {
        name: {k: v for k, v in particle("1 - x", (0.1, 0.9)).items() if k not in (
            "Thickness [m]", "Conductivity [S.m-1]", "Porosity", "Transport efficiency")}
        for name in ("graphite", "silicon")
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (change("Header", "Model", to="SPM"), r"Header\.Model.*no resistance to map"),
        (change(*NEGATIVE, to=BLEND), "one active material"),
        (change(P, "Separator", to=None), "Separator"),
        (change(*NEGATIVE, "Maximum stoichiometry", to=0.5), "same charge within 10 %"),
        (change(*NEGATIVE, "OCP [V]", to="exit(3)"), "arithmetic in x"),
        (change(*NEGATIVE, "OCP [V]", to="__import__('os').getpid()"), "arithmetic in x"),
        (change(*NEGATIVE, "OCP [V]", to="x.real"), "arithmetic in x"),
        (change(*NEGATIVE, "OCP [V]", to="1 / (x - x)"), "a number at x"),
        (change(*NEGATIVE, "OCP [V]", to="9 ** 9 ** 9 ** 9"), "a number at x"),
        (change(*NEGATIVE, "Particle radius [m]", to="abc"), "arithmetic in x"),
        (change(P, "Cell", "External surface area [m2]", to=1e-4), "a body of this volume"),
        ({"Header": {}}, "Header and Parameterisation"),
        ([], "Header and Parameterisation"),
    ],
)
def test_what_does_not_map_is_refused_by_name(tmp_path, told, said):
    with pytest.raises(ConfigError, match=said) as caught:
        taken(tmp_path, told)
    assert "made.json" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "made.toml").exists()


def test_expressions_are_arithmetic_and_nothing_else():
    def value(text: str, x: float) -> float:
        return bpx_file.parse(Path("f"), "k", text)(x)

    assert value("-2 * x ** 2 + exp(x) - tanh(-x) / cosh(x)", 0.7) == pytest.approx(
        -2 * 0.49 + math.exp(0.7) + math.tanh(0.7) / math.cosh(0.7), rel=1e-14
    )
    assert value("2 ** 3 ** 2", 0) == 512 and value("+3.5e-2", 1) == 0.035
    assert value("tanh(1000 * x)", 1.0) == 1.0 and value("tanh(-1000 * x)", 1.0) == -1.0


def test_the_command_writes_a_cell_that_every_command_takes(tmp_path, capsys):
    pytest.importorskip("bpx", reason=REASON)
    (tmp_path / "made.json").write_text(json.dumps(file()))
    out = tmp_path / "made.toml"
    assert main(["cells", "import-bpx", str(tmp_path / "made.json"), "--out", str(out)]) == 0
    assert "made: 16.21 Ah" in capsys.readouterr().out
    assert main(["cells", "show", str(out)]) == 0
    assert main(["cells", "import-bpx", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "No such file" in capsys.readouterr().err
