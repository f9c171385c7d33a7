"""AES-CMAC against the vectors of RFC 4493 and, on random data, the cryptography package."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from bms import _firmware

KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
RFC_4493 = {
    0: "bb1d6929e95937287fa37d129b756746",
    16: "070a16b46b4d4144f79bdd9dd04a287c",
    40: "dfa66747de9ae63030ca32611497c827",
    64: "51f0bebf7e3b9d92fc49741779363cfe",
}


@pytest.mark.parametrize("count", RFC_4493)
def test_it_gives_the_codes_of_the_rfc(count: int) -> None:
    assert _firmware.cmac(KEY, MESSAGE[:count]).hex() == RFC_4493[count]


def test_it_agrees_with_another_implementation_at_every_length(seed: int) -> None:
    chance = random.Random(seed)
    for count in range(300):
        key, data = chance.randbytes(16), chance.randbytes(count)
        theirs = CMAC(AES(key))
        theirs.update(data)
        assert _firmware.cmac(key, data) == theirs.finalize(), (key.hex(), data.hex())


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        _firmware.cmac(bytes(length), b"")
