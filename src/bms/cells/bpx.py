"""A cell file from a BPX file (Battery Parameter eXchange, JSON, versions 0.x and 1.x).

    told = import_bpx("cell.json", "cell.toml", base="panasonic_18650pf")

BPX describes the porous electrodes of a Doyle-Fuller-Newman model; our cells are circuits. What
maps, at the reference temperature and half charge unless said otherwise:

    capacity         what the smaller of the electrodes' stoichiometry windows holds:
                     F A N L (a R / 3) c_max (x_max - x_min)
    OCV, dU/dT       positive less negative electrode over the windows; to 25 degC by dU/dT
    hysteresis       mean half gap of the lithiation and delithiation branches, if there are any
    electrolyte      (L_n / 3 B_n + L_s / B_s + L_p / 3 B_p) / (kappa A N), kappa at the
                     concentration at rest (Newman and Thomas-Alyea 2004: uniform reaction)
    contact          the electronic part, (L_n / sigma_n + L_p / sigma_p) / (3 A N)
    charge transfer  R T / (F i0 a L A N) of both electrodes, i0 = F K sqrt(x (1 - x)):
                     Butler-Volmer at small current
    diffusion        |dU/dx| R / (5 D F c_max a L A N) of both, the steady gradient in a sphere;
                     tau is R^2 / (20.19 D), its slowest mode, weighted by the two (Crank 1975)
    geometry, heat   area, layers, mass = density x volume, a box with square faces or a cylinder
                     of the volume and surface, heat capacity, activation energies, cut-offs

Everything else is kept from the base cell, extensive values in proportion to capacity. What a
circuit has no element for is told by name, and what would make a wrong cell is refused. Expressions
are read as arithmetic in x with exp, tanh and cosh; nothing in a file is executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from .. import cells, config
from ..errors import ConfigError
from ..model import Cell
from ..rng import exact_exp
from .bpx_file import Curve, parse, read

FARADAY, GAS = 96485.33212, 8.314462618  # C/mol, J/(mol K)
EV_J_PER_MOL, ROOM_K = FARADAY, 298.15
GRID = (0.0, 0.005, 0.01, 0.015, 0.02, *(round(0.025 * k, 3) for k in range(1, 41)))
RISE_V = 2e-5  # of the curve, a point at least
STOUT = 8.0
SPHERE_MODE = 20.19  # 4.4934^2, first root of tan x = x
LAYERS = ("Negative electrode", "Positive electrode", "Separator")
UNUSED = {
    "Electrolyte.Diffusivity [m2.s-1]": "the circuit has no element for gradients of salt",
    "Electrolyte.Cation transference number": "the circuit has no element for gradients of salt",
    "Negative electrode.Porosity": "only enters through the transport efficiency",
    "Positive electrode.Porosity": "only enters through the transport efficiency",
    "Separator.Porosity": "only enters through the transport efficiency",
}
Section = Mapping[str, Any]


def import_bpx(
    path: str | Path, out: str | Path, *, name: str = "", base: str | Path = "panasonic_18650pf"
) -> list[str]:
    """Write the cell file; what was used, kept and left out, in sentences.

    ConfigError names file, field and reason for a file that is not BPX, or that describes a cell
    our model cannot be (one electrode, blends, no electrolyte), and for a missing package.
    """
    path = Path(path)
    told = read(path)
    values, provenance = Import(path, told, cells.load(base), name or path.stem).run()
    text = "\n".join(_toml_lines(path, values, provenance)) + "\n"
    try:
        Path(out).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(out, "", error.strerror or "an error", "a file to write") from None
    made = cells.load(str(Path(out).resolve()))
    sentences = [f"{made.name}: {made.electric.capacity_ah:.4g} Ah, written to {out}"]
    sections = told["Parameterisation"]
    for key, reason in UNUSED.items():
        section, _, entry = key.partition(".")
        if entry in sections.get(section, {}):
            sentences.append(f"not used: {key}: {reason}")
    if "User-defined" in sections:
        sentences.append("not used: User-defined: nobody but its author knows what it means")
    if "Validation" in told:
        sentences.append("not used: Validation: `bms estimate` and `bms fit` read records as CSV")
    return sentences


@dataclass
class Electrode:
    """One electrode; x is its stoichiometry."""

    ocp: Curve
    entropic: Curve | None
    branches: tuple[Curve, Curve] | None
    empty: float  # x at a discharged and at a charged cell
    full: float
    thickness_m: float
    radius_m: float
    per_m: float  # active surface a volume
    maximum_mol: float
    reaction: float
    diffusivity: Curve
    conductivity: float
    transport: float
    reaction_ev: float | None
    diffusion_ev: float | None

    def x(self, soc_frac: float) -> float:
        return self.empty + soc_frac * (self.full - self.empty)

    @property
    def capacity_as_per_m2(self) -> float:
        """Charge of the window, a square metre of electrode."""
        share = self.per_m * self.radius_m / 3.0
        held = FARADAY * self.thickness_m * share * self.maximum_mol
        return held * abs(self.full - self.empty)

    def transfer_ohm_m2(self, kelvin: float) -> float:
        x = self.x(0.5)
        exchange = FARADAY * self.reaction * math.sqrt(x * (1.0 - x))
        return GAS * kelvin / (FARADAY * exchange * self.per_m * self.thickness_m)

    def diffusion_ohm_m2(self) -> float:
        low, high = self.x(0.2), self.x(0.8)
        slope = abs((self.ocp(high) - self.ocp(low)) / (high - low))
        gradient = self.radius_m / (5.0 * self.diffusivity(self.x(0.5)) * FARADAY)
        return slope * gradient / (self.maximum_mol * self.per_m * self.thickness_m)

    def half_gap_v(self) -> float:
        """Half of what lies between the branches of the OCP, the mean over the window."""
        assert self.branches is not None
        at = [self.x(0.1 * k) for k in range(1, 10)]
        return sum(abs(self.branches[0](x) - self.branches[1](x)) for x in at) / (2.0 * len(at))

    def diffusion_tau_s(self) -> float:
        return self.radius_m**2 / (SPHERE_MODE * self.diffusivity(self.x(0.5)))


@dataclass
class Import:
    """One import: values and provenance of the new cell begin as those of the base."""

    path: Path
    told: dict[str, Any]
    base: Cell
    name: str
    values: config.Tree = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)

    def run(self) -> tuple[config.Tree, dict[str, str]]:
        """Values and provenance of a cell file."""
        self.values = msgspec.to_builtins(self.base)
        del self.values["provenance"], self.values["file"]
        kept = f"Kept from {self.base.name}, BPX does not say. "
        for key, origin in self.base.provenance.items():
            kind, _, text = origin.partition(": ")
            self.provenance[key] = f"{kind}: {kept}{text}"
        self._words()
        cell = self._section("Cell")
        negative, positive = self._electrode(LAYERS[0]), self._electrode(LAYERS[1])
        area_m2 = float(cell["Electrode area [m2]"])
        pairs = int(cell["Number of electrode pairs connected in parallel to make a cell"])
        self.kelvin = float(cell.get("Reference temperature [K]", ROOM_K))
        self._electric(cell, negative, positive, area_m2 * pairs)
        self._resistance(negative, positive, area_m2 * pairs)
        self._geometry(cell, area_m2 * pairs, pairs)
        self._limits(cell)
        return self.values, self.provenance

    def refuse(self, key: str, value: object, expected: str) -> ConfigError:
        """The error for a field of the file."""
        return ConfigError(self.path, f"Parameterisation.{key}", value, expected)

    def set(self, key: str, value: Any, text: str, kind: str = "source") -> None:
        """A value and where it is from."""
        *tables, last = key.split(".")
        table = self.values
        for part in tables:
            table = table[part]
        if isinstance(value, float):
            value = float(f"{value:.6g}")
        table[last] = value
        self.provenance[key] = f"{kind}: {text}"

    def _words(self) -> None:
        header = self.told["Header"]
        title = " ".join(str(header.get("Title") or self.name).split())
        about = " ".join(str(header.get("Description") or title).split())
        self.values |= {"name": self.name, "title": title[:120], "description": about[:400]}

    def _section(self, name: str) -> Section:
        found = self.told["Parameterisation"].get(name)
        if not isinstance(found, dict):
            raise self.refuse(name, found, "a full cell: electrolyte, separator, two electrodes")
        return found

    def _curve(self, name: str, section: Section, key: str) -> Curve:
        value = section[key]
        if isinstance(value, str):
            return parse(self.path, f"Parameterisation.{name}.{key}", value)
        if isinstance(value, dict):
            grid, points = value["x"], value["y"]
            if len(grid) < 2 or any(b <= a for a, b in pairwise(grid)):
                raise self.refuse(f"{name}.{key}", grid, "two or more rising x")
            from .laws import interpolate

            return lambda x: interpolate(x, grid, points)
        number = float(value)
        return lambda _x: number

    def _electrode(self, name: str) -> Electrode:
        section = self._section(name)
        if "Particle" in section:
            expected = "one active material; a blend is two cells in one"
            raise self.refuse(f"{name}.Particle", ", ".join(section["Particle"]), expected)

        def optional(key: str) -> Curve | None:
            return self._curve(name, section, key) if key in section else None

        branches = optional("OCP (lithiation) [V]"), optional("OCP (delithiation) [V]")
        ends = section["Minimum stoichiometry"], section["Maximum stoichiometry"]
        empty, full = ends if name == LAYERS[0] else ends[::-1]
        energies = [
            None if key not in section else float(section[key]) / EV_J_PER_MOL
            for key in ("Reaction rate constant activation energy [J.mol-1]",
                        "Diffusivity activation energy [J.mol-1]")
        ]  # fmt: skip
        return Electrode(
            self._curve(name, section, "OCP [V]"),
            optional("Entropic change coefficient [V.K-1]"),
            (branches[0], branches[1]) if branches[0] and branches[1] else None,
            float(empty), float(full), float(section["Thickness [m]"]),
            float(section["Particle radius [m]"]),
            float(section["Surface area per unit volume [m-1]"]),
            float(section["Maximum concentration [mol.m-3]"]),
            float(section["Reaction rate constant [mol.m-2.s-1]"]),
            self._curve(name, section, "Diffusivity [m2.s-1]"),
            float(section["Conductivity [S.m-1]"]), float(section["Transport efficiency"]),
            energies[0], energies[1],
        )  # fmt: skip

    def _electric(
        self, cell: Section, negative: Electrode, positive: Electrode, area_m2: float
    ) -> None:
        held = [e.capacity_as_per_m2 * area_m2 / 3600.0 for e in (negative, positive)]
        if max(held) > 1.1 * min(held):
            expected = "windows of electrodes that hold the same charge within 10 %"
            shown = f"negative {held[0]:.4g} Ah, positive {held[1]:.4g} Ah"
            raise self.refuse("Negative electrode.Maximum stoichiometry", shown, expected)
        nominal = cell["Nominal cell capacity [A.h]"]
        text = "What the stoichiometry windows of the BPX file hold; "
        self.set("electric.capacity_ah", min(held), f"{text}its nominal capacity is {nominal} Ah.")
        slopes = [self._entropic(z, negative, positive) for z in GRID]
        volts = [positive.ocp(positive.x(z)) - negative.ocp(negative.x(z)) for z in GRID]
        volts = [v + s * (ROOM_K - self.kelvin) for v, s in zip(volts, slopes, strict=True)]
        low, high = (float(cell[f"{end} voltage cut-off [V]"]) for end in ("Lower", "Upper"))
        text = "Positive less negative OCP of the BPX file over their windows, to 25 degC."
        self.set("electric.ocv_soc_frac", list(GRID), text)
        self.set("electric.ocv_v", _rising(volts, low, high), text)
        known = negative.entropic or positive.entropic
        self.set(
            "electric.entropic_v_per_k", [float(f"{s:.4g}") for s in slopes],
            "Entropic coefficients of the BPX file." if known else "The BPX file has none: 0.",
            "source" if known else "assumption",
        )  # fmt: skip
        half_gaps_v = [e.half_gap_v() for e in (negative, positive) if e.branches]
        if half_gaps_v:
            text = "Mean half gap of the branches of the OCP in the BPX file."
            self.set("electric.hysteresis_v", sum(half_gaps_v), text)
        else:
            self.set("electric.hysteresis_v", 0.0, "The BPX file has one OCP: none.", "assumption")

    @staticmethod
    def _entropic(soc_frac: float, negative: Electrode, positive: Electrode) -> float:
        parts = (
            sign * e.entropic(e.x(soc_frac)) if e.entropic else 0.0
            for sign, e in ((1.0, positive), (-1.0, negative))
        )
        return sum(parts)

    def _resistance(self, negative: Electrode, positive: Electrode, area_m2: float) -> None:
        electrolyte, separator = self._section("Electrolyte"), self._section("Separator")
        conditions = (self.told.get("State") or {}).get("Initial conditions") or {}
        rest_mol = float(conditions.get("Initial electrolyte concentration [mol.m-3]", 1000.0))
        kappa = self._curve("Electrolyte", electrolyte, "Conductivity [S.m-1]")(rest_mol)
        path_m = separator["Thickness [m]"] / separator["Transport efficiency"]
        path_m += sum(e.thickness_m / (3.0 * e.transport) for e in (negative, positive))
        energy = electrolyte.get("Conductivity activation energy [J.mol-1]")
        ev = None if energy is None else float(energy) / EV_J_PER_MOL
        self._part("electrolyte", path_m / (kappa * area_m2), ev, "ionic path of the layers")
        solid = sum(e.thickness_m / e.conductivity for e in (negative, positive)) / 3.0
        self._part("contact", solid / area_m2, 0.0, "electronic path of the electrodes")
        both = negative, positive
        transfer = [e.transfer_ohm_m2(self.kelvin) / area_m2 for e in both]
        ev = _weighted([e.reaction_ev for e in both], transfer)
        self._part("charge_transfer", sum(transfer), ev, "Butler-Volmer at small current")
        diffusion = [e.diffusion_ohm_m2() / area_m2 for e in both]
        ev = _weighted([e.diffusion_ev for e in both], diffusion)
        self._part("diffusion", sum(diffusion), ev, "gradient in the particles")
        tau_s = _weighted([e.diffusion_tau_s() for e in both], diffusion)
        text = "Slowest mode of the particles of the BPX file."
        self.set("resistance.diffusion_tau_s", tau_s, text)

    def _part(self, name: str, ohm: float, ev: float | None, text: str) -> None:
        """A resistance at 25 degC and its activation energy."""
        if ev is not None:
            rise = exact_exp(FARADAY * ev / GAS * (1.0 / ROOM_K - 1.0 / self.kelvin))
            ohm *= rise
            key = "electrolyte_temperature.activation_ev"
            key = key if name == "electrolyte" else f"{name}_activation_ev"
            self.set(f"resistance.{key}", ev, f"BPX file: {text}.")
        self.set(f"resistance.{name}_ohm", ohm, f"BPX file at half charge: {text}.")

    def _geometry(self, cell: Section, area_m2: float, pairs: int) -> None:
        base = self.base
        ratio = self.values["electric"]["capacity_ah"] / base.electric.capacity_ah
        self.set("geometry.electrode_area_cm2", area_m2 * 1e4, "BPX file: area times pairs.")
        self.set("geometry.layers", pairs, "BPX file: pairs of electrodes.")
        volume, surface = cell.get("Volume [m3]"), cell.get("External surface area [m2]")
        if volume and surface:
            shape = body(float(volume), float(surface))
            if shape is None:
                expected = "a surface that a body of this volume can have"
                raise self.refuse("Cell.External surface area [m2]", surface, expected)
            text = "With the volume and surface of the BPX file: a cylinder if it is a stout one, "
            text += "else a pouch with square faces."
            keys = ("format", "length_m", "width_m", "thickness_m")
            for key, value in zip(keys, shape, strict=True):
                self.set(f"geometry.{key}", value, text, "assumption")
        else:
            for key in ("length_m", "width_m", "thickness_m"):
                self._scaled(f"geometry.{key}", ratio ** (1.0 / 3.0))
        if volume and cell.get("Density [kg.m-3]"):
            mass_kg = float(volume) * float(cell["Density [kg.m-3]"])
            self.set("geometry.mass_kg", mass_kg, "BPX file: density times volume.")
        else:
            self._scaled("geometry.mass_kg", ratio)
        if "Specific heat capacity [J.K-1.kg-1]" in cell:
            heat = float(cell["Specific heat capacity [J.K-1.kg-1]"])
            self.set("thermal.heat_capacity_j_per_kg_k", heat, "BPX file.")
        for key in (
            "thermal.core_surface_w_per_k",
            "runaway.first.heat_j",
            "runaway.second.heat_j",
        ):
            self._scaled(key, ratio)
        for key in ("limits.current_charge_a", "limits.current_discharge_a"):
            self._scaled(key, ratio)
        self._scaled("ageing.interphase_ohm_per_sqrt_s",
                     base.geometry.electrode_area_cm2 / (area_m2 * 1e4), "area")  # fmt: skip

    def _scaled(self, key: str, ratio: float, by: str = "capacity") -> None:
        value: Any = self.values
        for part in key.split("."):
            value = value[part]
        is_list = isinstance(value, list | tuple)
        scaled = [float(f"{ratio * v:.6g}") for v in value] if is_list else ratio * value
        self.set(key, scaled, f"That of {self.base.name} in proportion to {by}.", "assumption")

    def _limits(self, cell: Section) -> None:
        """Operate at the cut-offs; warn and trip as far beyond as in the base."""
        for key, end in (("voltage_min_v", "Lower"), ("voltage_max_v", "Upper")):
            tiers = self.values["limits"][key]
            edge = float(cell[f"{end} voltage cut-off [V]"])
            moved = [round(edge + tier - tiers[0], 4) for tier in tiers]
            self.set(f"limits.{key}", moved, f"{end} cut-off of the BPX file; warn and trip as far "
                     f"beyond it as in {self.base.name}.")  # fmt: skip


def body(volume_m3: float, surface_m2: float) -> tuple[str, float, float, float] | None:
    """(format, length, width, thickness) of a body with that volume and surface, None if no such
    body exists: a cylinder up to STOUT diameters long, else a pouch with square faces."""
    least = (volume_m3 / (2.0 * math.pi)) ** (1.0 / 3.0)  # radius of the least surface

    def cylinder(r: float) -> float:
        return 2.0 * volume_m3 / r + 2.0 * math.pi * r * r - surface_m2

    r = _root(cylinder, least * 1e-3, least)
    if r is not None and volume_m3 / (math.pi * r**3) <= 2.0 * STOUT:
        return "cylindrical", volume_m3 / (math.pi * r * r), 2.0 * r, 2.0 * r
    cube = volume_m3 ** (1.0 / 3.0)
    side = _root(lambda s: surface_m2 - 2.0 * s * s - 4.0 * volume_m3 / s, cube, cube * 1e3)
    return None if side is None else ("pouch", side, side, volume_m3 / (side * side))


def _root(falling: Callable[[float], float], low: float, high: float) -> float | None:
    """Where a falling function is 0, by halving."""
    if falling(low) < 0.0 or falling(high) > 0.0:
        return None
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if falling(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def _weighted(values: list[Any], weights: list[float]) -> Any:
    """Mean by weight of what is known; None when nothing is."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    total = sum(w for _, w in known)
    return sum(v * w for v, w in known) / total if total > 0.0 else None


def _rising(volts: list[float], low_v: float, high_v: float) -> list[float]:
    """The curve within the cut-offs, rising by RISE_V a point or more."""
    out: list[float] = []
    for k, value in enumerate(volts):
        least = low_v + RISE_V * k if not out else out[-1] + RISE_V
        most = high_v - RISE_V * (len(volts) - 1 - k)
        out.append(round(min(max(value, least), most), 5))
    return out


def _toml_lines(path: Path, values: config.Tree, provenance: dict[str, str]) -> Iterator[str]:
    yield f"# Written by `bms cells import-bpx {path.name}`. What begins with Kept is the base's."
    yield ""
    for word in config.WORDS:
        yield f"{word} = {_toml(values[word])}"
    for name, table in values.items():
        if isinstance(table, dict):
            yield from _table(name, table, provenance)


def _table(key: str, table: config.Tree, provenance: dict[str, str]) -> Iterator[str]:
    leaves = [n for n, v in table.items() if not isinstance(v, dict) and f"{key}.{n}" in provenance]
    if leaves:
        yield from ("", f"[{key}]")
    for name in leaves:
        kind, _, text = provenance[f"{key}.{name}"].partition(": ")
        yield f"{name} = {{ value = {_toml(table[name])}, {kind} = {_toml(text)} }}"
    for name, inner in table.items():
        if isinstance(inner, dict):
            yield from _table(f"{key}.{name}", inner, provenance)


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
