"""What the pack says about its sensors, as parameters of chips and sensors."""

import msgspec
import numpy as np
import pytest
from bms._chips import Chips, Imd, Ivt

import bms.cells
import bms.packs
from bms.errors import ConfigError
from bms.plant.chips import fill

PACK = bms.packs.load("car_96s1p")
CELL = bms.cells.load(PACK.cell)


def filled(pack=PACK, seed=1):
    parts = Chips(), Ivt(), Imd()
    fill(*(part.fields for part in parts), CELL, pack, seed=seed)
    return parts


def changed(part, **values):
    inner = msgspec.structs.replace(getattr(PACK, part), **values)
    return msgspec.structs.replace(PACK, **{part: inner})


def test_equal_seeds_fill_equal_bytes_and_others_do_not():
    one, two, other = filled(), filled(), filled(seed=2)
    for a, b, c in zip(one, two, other, strict=True):
        assert a.state() == b.state() != c.state()


def test_the_size_of_the_pack_and_its_parts_arrive():
    chips, ivt, imd = (part.fields for part in filled())
    assert (chips["chip_count"][0], chips["block_count"][0]) == (6, 96)
    assert chips["bleed_ohm"][0] == PACK.balancing.bleed_ohm
    assert ivt["current_range_a"][0] == PACK.sensors.current_range_a
    assert (imd["period_ms"][0], imd["start_ms"][0]) == (1000, 5000)


def test_every_thermistor_sits_where_the_pack_says():
    blocks = filled()[0].fields["thermistor_block"].reshape(32, 6)
    expected = [[16 * chip + b for b in PACK.sensors.temperature_blocks] for chip in range(6)]
    assert blocks[:6].tolist() == expected
    assert (blocks[6:] == -1).all()


def test_channel_errors_have_the_spread_of_the_pack():
    pack = changed("topology", blocks=400)
    chips = filled(pack)[0].fields
    n = 25 * 16
    offset, gain = chips["cell_offset_v"][:n], chips["cell_gain_frac"][:n]
    assert offset.std() == pytest.approx(pack.sensors.cell_voltage_offset_v, rel=0.15)
    assert gain.std() == pytest.approx(pack.sensors.cell_voltage_gain_frac, rel=0.15)
    assert abs(np.corrcoef(offset, gain)[0, 1]) < 0.2
    assert (chips["cell_offset_v"][n:] == 0).all()


@pytest.mark.parametrize(
    ("pack", "key"),
    [
        (changed("topology", blocks_per_module=17), "topology.blocks_per_module"),
        (changed("topology", blocks_per_module=0), "topology.blocks_per_module"),
        (changed("topology", blocks=400, blocks_per_module=12), "topology.blocks"),
        (changed("sensors", temperature_blocks=(0, 16)), "sensors.temperature_blocks"),
        (changed("sensors", temperature_blocks=(0,) * 7), "sensors.temperature_blocks"),
        (msgspec.structs.replace(PACK, chip_overvoltage_v=4.0), "chip_overvoltage_v"),
        (msgspec.structs.replace(PACK, chip_undervoltage_v=2.42), "chip_undervoltage_v"),
    ],
)
def test_a_pack_the_chips_cannot_read_is_refused_by_key(pack, key):
    with pytest.raises(ConfigError) as caught:
        filled(pack)
    assert caught.value.key == key
    assert key in str(caught.value)


def test_every_field_says_what_it_is():
    for part in (Chips, Ivt, Imd):
        for name, unit, text, _offset, count, _dtype in part.describe():
            assert unit and text and count > 0, name
