"""Words for what can be looked at, and the feed each stands for.

demo  scenario:NAME  connect:URL  open:PATH  rig:NAME
"""

from __future__ import annotations

from typing import Any

from bms_gui.view import Feed

from bms.errors import BmsError, ConfigError

DEMO = {"scenario": "drive", "pack": "car_96s1p"}


def opened(word: str, **settings: Any) -> Feed:
    """The feed. settings: pack, scenario, dbc, bitrate, speed, where they apply. BmsError with a
    sentence."""
    kind, _, rest = word.partition(":")
    if kind == "demo":
        from bms_gui.feeds.simulated import SimulatedFeed

        return SimulatedFeed(_given(DEMO, settings, ("pack", "seed")), settings.get("speed") or 1.0)
    if kind == "scenario":
        from bms_gui.feeds.simulated import SimulatedFeed

        from bms import scenarios

        scenarios.load(rest)  # says at once what is wrong with it
        options = _given({"scenario": rest}, settings, ("pack", "seed"))
        return SimulatedFeed(options, settings.get("speed") or 1.0)
    if kind == "connect":
        from bms_gui.feeds.live import LiveFeed

        return LiveFeed(rest, settings.get("dbc"), settings.get("bitrate") or 0)
    if kind == "open":
        from bms_gui.feeds.recorded import open_file

        return open_file(rest, settings.get("dbc"))
    if kind == "rig":
        from bms_gui.feeds.rig import RigFeed

        return RigFeed(rest, **_given({}, settings, ("pack", "scenario")))
    raise ConfigError("desktop", "source", word, "demo, scenario:, connect:, open: or rig:")


def _given(
    base: dict[str, Any], settings: dict[str, Any], names: tuple[str, ...]
) -> dict[str, Any]:
    return base | {name: settings[name] for name in names if settings.get(name) is not None}


def sentence(error: BaseException) -> str:
    """What went wrong, for somebody who did not write this."""
    text = str(error).strip().splitlines()
    if isinstance(error, BmsError) and text:
        return " ".join(text)
    return f"{type(error).__name__}: {text[0] if text else 'no reason was given'}"
