"""CAN through whatever is at hand, by URL.

    with links.open("slcan:/dev/ttyACM0@500000") as link:
        link.send(links.Frame(0x351, bytes.fromhex("1402C012C012C201")))
        for frame in link:
            print(frame.time_s, frame)

`url.py` is the grammar. A link connects and reconnects by itself: `state` is "waiting",
"connecting", "up" or "closed", and `reason` says why it is not up. Nothing but waiting for a frame
blocks, bytes from outside never raise, and whatever is lost is in `counters` (`COUNTERS` explains
them). Frames one by one are `Frame`; many at a time are arrays of `FRAME_DTYPE`:

    batch = np.zeros(1024, links.FRAME_DTYPE)
    n = link.receive_batch(batch, timeout_s=0.1)

The work is compiled (ext/links, whose link.h is the manual). A thread without the GIL can own a
link: `Link.lend` (or `Link.address`) gives it away, `api_address` the functions to drive it with.
"""

from __future__ import annotations

import threading
from types import TracebackType

from bms import _links
from bms._links import FRAME_DTYPE, Frame, Link, api_address
from bms.errors import ConfigError

from .pythoncan import attach
from .url import SLCAN_SPEEDS, WITHOUT_FD, CanUrl, available, parse, resolve, slcan_bitrate

__all__ = [
    "COUNTERS",
    "FRAME_DTYPE",
    "SLCAN_SPEEDS",
    "CanUrl",
    "Frame",
    "Join",
    "Link",
    "api_address",
    "available",
    "open",
    "parse",
]

COUNTERS = {name: meaning for name, _unit, meaning in _links.counter_fields()}
DATA_BITRATE = 2_000_000  # of an SLCAN adapter opened for CAN FD, unless the URL says otherwise


def open(
    url: str | CanUrl,
    *,
    bitrate: int | None = None,
    fd: bool = False,
    listen_only: bool = False,
    patient: bool = False,
    ring: int = 0,
) -> Link:
    """A link to the bus that `url` names.

    A far end that is absent is no error: the link waits for it, see `Link.wait_up`. `bitrate`, in
    bit/s, is for adapters that we set (the URL's goes first); elsewhere it is somebody else's
    setting. `fd` allows CAN FD frames to be sent; socketcand has none. `listen_only` sends nothing,
    and asks an SLCAN adapter not even to acknowledge. `ring` is how many received frames may wait;
    what comes beyond is dropped and counted, or with `patient` left to wait at the far end.
    ConfigError for a URL that cannot be, LinkError for what is wrong on this side (a port or path
    that is taken, a kernel without CAN).
    """
    place = parse(url) if isinstance(url, str) else url
    options = _links.FD * fd | _links.LISTEN_ONLY * listen_only | _links.PATIENT * patient
    if fd and place.kind in WITHOUT_FD:
        raise ConfigError(place.text, "fd", True, "no CAN FD: socketcand does not carry it")
    speed = place.bitrate or bitrate or 0
    if place.kind == "python":
        settings = {"channel": place.name or None, **place.settings}
        settings |= {"bitrate": speed} if speed else {}
        settings |= {"fd": True} if fd else {}
        return attach(place.text, place.interface, settings, options)
    data_speed = 0
    if place.kind == "slcan":
        speed = slcan_bitrate(place.text, speed) if speed else 0
        data_speed = (place.data_bitrate or DATA_BITRATE) if fd else 0
    host = resolve(place.text, place.host) if place.host else ""
    return Link(
        place.kind, host=host, name=place.name, port=place.port, local_port=place.local_port,
        bitrate=speed, data_bitrate=data_speed, baud=place.baud, options=options, ring=ring,
        url=place.text,
    )  # fmt: skip


class Join:
    """Several links as one bus, served by a thread without the GIL until it is closed.

    A frame that arrives on one of them leaves on all others. The links belong to the thread: they
    may be looked at (`state`, `counters`) but not used, and are closed with it. A thread of its own
    also keeps a server answering:

        links.Join(links.open("inproc:car"), links.open("slcan-server:/tmp/can0"))
    """

    def __init__(self, *members: Link):
        self.links = members
        self._joint = _links.Joint(list(members))
        self._thread = threading.Thread(target=self._joint.run, name="links.Join", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and closes the links. May be called twice."""
        if self._thread.is_alive():
            self._joint.stop()
            self._thread.join()
        for link in self.links:
            link.close()

    def __enter__(self) -> Join:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
