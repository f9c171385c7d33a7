"""A rig round the compiled plant: any size, any state, contactors closed on request."""

import msgspec
import numpy as np
import pytest
from bms._plant import Plant, best_isa

import bms.cells
import bms.packs
from bms.plant import build

OPEN, CURRENT, POWER, CHARGER = 0, 1, 2, 3  # PLANT_LOAD_
MAIN_PLUS, MAIN_MINUS, PRECHARGE = 1, 2, 4
PACK = bms.packs.load("car_96s3p")


def pack_of(blocks=16, parallel=1, per_module=8, spread=True, **fixed):
    """The car pack in another size; `spread=False`: all cells equal; `fixed` replaces parts."""
    replace = msgspec.structs.replace
    topology = replace(
        PACK.topology, blocks=blocks, parallel=parallel, blocks_per_module=per_module
    )
    equal = {} if spread else dict.fromkeys(PACK.spread.__struct_fields__, 0.0)
    parts = {
        name: replace(getattr(PACK, name), **values)
        for name, values in {"spread": equal, **fixed}.items()
    }
    return replace(PACK, topology=topology, **parts)


class Rig:
    """A plant with a few handles: `f[name]` live fields, `rig[name]` a copy of what is used."""

    def __init__(
        self, pack, cell, *, seed=1, soc=0.6, degc=25.0, ambient=None, critical="claimed", **before
    ):
        self.plant, self.pack, self.cell = Plant(), pack, cell
        self.f = self.plant.fields
        build.fill(
            self.f,
            cell,
            pack,
            seed=seed,
            soc_frac=soc,
            temperature_degc=degc,
            ambient_degc=degc if ambient is None else ambient,
            critical=critical,
        )
        for name, value in before.items():
            self.f[name][:] = value
        self.plant.init()
        self.count = pack.topology.blocks * pack.topology.parallel

    def __getitem__(self, name):
        values = self.f[name]
        if len(values) == 1:
            return values[0].item()
        topology = self.pack.topology
        used = {"cell": self.count, "bloc": topology.blocks, "modu": self.f["modules"][0]}
        return values[: used.get(name[:4], len(values))].copy()

    @staticmethod
    def plant_best_isa():
        return best_isa()

    def set(self, **values):
        for name, value in values.items():
            self.f[name][:] = value
        return self

    def step(self, n=1):
        self.plant.step(n)
        return self

    def seconds(self, s):
        return self.step(round(s * 1e6 / self["step_us"]))

    def close(self):
        """Precharge, both mains, and wait until nothing moves any more."""
        self.set(coil_command=MAIN_MINUS | PRECHARGE).step(500)
        self.set(coil_command=MAIN_MINUS | MAIN_PLUS).step(100)
        assert self["contactor_closed"] == 3, "the rig did not close"
        return self

    def current(self, amps):
        return self.set(load_mode=CURRENT, load_current_a=amps)

    def shot(self):
        """All fields, copied."""
        return {name: values.copy() for name, values in self.f.items()}

    def residual(self):
        """Energy that does not close, over the throughput at the terminals."""
        energy = self.plant.energy()
        return energy["residual"] / energy["throughput"]


@pytest.fixture
def rig():
    """Factory: rig(blocks=16, parallel=1, cell=name, soc=, degc=, spread=, <field>=value ...)."""

    def make(
        blocks=16,
        parallel=1,
        per_module=8,
        cell="sulfide_nmc811_77ah",
        spread=True,
        pack=None,
        **more,
    ):
        pack = pack or pack_of(blocks, parallel, per_module, spread)
        return Rig(pack, bms.cells.load(cell), **more)

    return make


@pytest.fixture
def chance(seed):
    """A generator from the printed seed."""
    return np.random.default_rng(seed)


@pytest.fixture
def sized():
    """Factory of packs, see pack_of."""
    return pack_of
