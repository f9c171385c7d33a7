"""The CAN links of a real-time process: one bus for all, or first the vehicle's, then the
sensors'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bms import links
from bms.errors import ConfigError

DEFAULT = "socketcand-server:127.0.0.1:29536/can0"  # what `bms emulate` makes when not told


class Buses:
    """Opened links. `addresses` are those of vehicle and sensor bus: the same twice when there is
    one link. ConfigError for more than two; LinkError for what cannot be opened on this side."""

    def __init__(self, urls: Sequence[str]) -> None:
        if not 1 <= len(urls) <= 2:
            raise ConfigError("option", "--can", list(urls), "one URL, or vehicle and sensor bus")
        self.urls = list(urls)
        self.links: list[links.Link] = []
        try:
            for url in urls:
                self.links.append(links.open(url))
        except BaseException:
            self.close()
            raise
        self.api = links.api_address()
        lent = [link.lend() for link in self.links]
        self.addresses = [lent[0], lent[-1]]

    def status(self) -> list[dict[str, Any]]:
        """For people and scripts."""
        found = []
        for url, link in zip(self.urls, self.links, strict=True):
            counters = link.counters
            found.append(
                {
                    "url": url, "state": link.state, "reason": link.reason, "place": link.place,
                    "rx_frames": counters["rx_frames"], "tx_frames": counters["tx_frames"],
                    "dropped": counters["rx_dropped"] + counters["tx_dropped"],
                }
            )  # fmt: skip
        return found

    def close(self) -> None:
        """After the runner has stopped."""
        for link in self.links:
            link.take_back()
            link.close()
