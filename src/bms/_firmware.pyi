"""Types of ext/bms/_firmware.pyx, as far as bms uses it."""

from collections.abc import Sequence

from bms.firmware.library import Probe

def api_address() -> int: ...
def version() -> str: ...
def probes() -> list[Probe]: ...
def config_fields() -> list[tuple[str, str, str, int, int, str]]: ...
def config_constants() -> dict[str, int]: ...
def cmac(key: bytes, data: bytes) -> bytes: ...

class Firmware:
    pins: int
    heater_pptt: int
    pump_pptt: int
    watchdog_kick: bool
    reset_wanted: bool
    uart: bytes
    low_us: int
    baud: int
    frames: list[tuple[int, int, bytes]]
    nvm: bytearray
    sleep_ms: int
    def __init__(
        self,
        config: bytes,
        now_us: int = 0,
        reset_cause: int = 0,
        nvm: bytearray | None = None,
        entropy: bytes = ...,
    ) -> None: ...
    def step(
        self,
        now_us: int,
        pins: int = 0,
        supply_mv: int = 12000,
        uart: bytes = b"",
        frames: Sequence[tuple[int, int, bytes]] = (),
        can_state: tuple[int, int] = (0, 0),
    ) -> None: ...
    def enter(self, before: int, after: int) -> int: ...
    def begin_contactor_test(self) -> bool: ...
    def snapshot(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...

def transitions() -> list[set[int]]: ...
