"""What a run was and how it went, in words and figures. From metadata and summary only."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Summary = Mapping[str, Any]


def clock(seconds: float) -> str:
    """A span as people say it.

    >>> clock(0.4), clock(75), clock(4000), clock(200000)
    ('0.40 s', '1 min 15 s', '1 h 06 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def title(meta: Mapping[str, Any]) -> str:
    """Scenario, cell and pack in one line."""
    configuration = _configuration(meta)
    plan = configuration.get("plan") or {}
    scenario = plan.get("title") or configuration.get("scenario") or "A recording"
    on = [part for part in (_name(configuration, "pack"), _name(configuration, "cell")) if part]
    return f"{scenario} — {' of '.join(on)}" if on else str(scenario)


def command(meta: Mapping[str, Any]) -> str:
    """The line that makes this run again, as far as the recording knows it."""
    configuration = _configuration(meta)
    scenario = configuration.get("scenario")
    if not scenario:
        return ""
    words = ["bms", "run", str(scenario), "--seed", str(meta.get("seed", 1))]
    for key in ("pack", "cell"):
        if _name(configuration, key):
            words += [f"--{key}", _name(configuration, key)]
    if configuration.get("cycle"):
        words += ["--cycle", str(configuration["cycle"])]
    for key, value in (configuration.get("settings") or {}).items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def _configuration(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    found = meta.get("configuration")
    return found if isinstance(found, Mapping) else {}


def _name(configuration: Mapping[str, Any], key: str) -> str:
    value = configuration.get(key)
    return str(value.get("name", "") if isinstance(value, Mapping) else value or "")


def verdict(summary: Summary) -> str:
    """The run in one sentence."""
    if not summary:
        return "The recording was cut: there is no summary of the run."
    told = []
    if "simulated_s" in summary:
        told.append(f"{clock(summary['simulated_s'])} simulated")
    elif "log_s" in summary:
        told.append(f"{summary['frames']:,} frames in {clock(summary['log_s'])}")
    trips = summary.get("trips")
    if trips is not None:
        told.append("no trip" if trips == 0 else f"{trips} trip{'s' if trips > 1 else ''}")
    if summary.get("state_final"):
        told.append(f"ended in {str(summary['state_final']).replace('_', ' ')}")
    if summary.get("fuse_blown"):
        told.append("the fuse blew")
    return (", ".join(told) or "Finished") + "."


def tone(summary: Summary) -> str:
    """good, warn or bad: how a page colours the verdict."""
    if not summary or summary.get("fuse_blown"):
        return "bad"
    return "warn" if summary.get("trips") or summary.get("ecu_resets") else "good"


def key_figures(summary: Summary) -> list[tuple[str, str]]:
    """(label, value with unit) of what the summary knows."""
    known = [figure for figure in FIGURES if all(summary.get(n) is not None for n in figure[1])]
    return [(label, how(*(summary[name] for name in names))) for label, names, how in known]


def _share(value: float) -> str:
    return f"{100 * value:.2f} %"


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


Figure = tuple[str, tuple[str, ...], Callable[..., str]]
FIGURES: tuple[Figure, ...] = (
    ("simulated", ("simulated_s",), clock),
    ("computed in", ("wall_s",), clock),
    ("times real time", ("realtime_factor",), lambda x: _count(round(x))),
    ("state of charge", ("soc_start_frac", "soc_final_frac"),
     lambda a, b: f"{100 * a:.1f} to {100 * b:.1f} %"),
    ("SoC error, rms", ("soc_rmse_frac",), _share),
    ("SoC error, worst", ("soc_max_error_frac",), _share),
    ("truth inside interval", ("soc_inside_interval_frac",), _share),
    ("trips", ("trips",), str),
    ("energy throughput", ("energy_throughput_j",), lambda x: f"{x / 3.6e6:.2f} kWh"),
    ("share of it not explained", ("energy_residual_frac",), lambda x: f"{x:.1e}"),
    ("frames", ("frames",), _count),
    ("made no sense", ("malformed",), _count),
    ("not in the database", ("frames_not_in_database",), _count),
    ("not decoded", ("frames_not_decoded",), _count),
    ("times that run backwards", ("times_backwards",), _count),
    ("firmware steps", ("steps",), _count),
    ("serial bytes", ("uart_bytes",), _count),
    ("CAN frames", ("can_frames",), _count),
    ("cell conversions", ("afe_conversions",), _count),
    ("filter updates", ("ekf_updates",), _count),
)  # fmt: skip
"""Label, the summary's keys it needs, and how their values are written."""


def sentences(summary: Summary, *, estimate: bool = True) -> list[str]:
    """Findings that need nothing but the summary; `estimate`: also of the state of charge."""
    return [*(_estimate(summary) if estimate else ()), *_sentences(summary)]


def _estimate(summary: Summary) -> Iterator[str]:
    if summary.get("soc_scored_ticks"):
        yield (
            f"The estimated state of charge was off by {summary['soc_rmse_frac']:.2%} rms and "
            f"{summary['soc_max_error_frac']:.2%} at worst."
        )


def _sentences(summary: Summary) -> Iterator[str]:
    for name, times in (summary.get("diagnoses") or {}).items():
        yield f"Diagnosis {name}: raised {times} time{'s' if times != 1 else ''}."
    if summary.get("energy_residual_frac") is not None:
        yield (
            "Every joule is accounted for to "
            f"{summary['energy_residual_frac']:.0e} of the energy that flowed."
        )
    if summary.get("uart_bytes") and summary.get("can_frames"):
        yield (
            f"Pack and firmware met only through {summary['uart_bytes']:,} serial bytes and "
            f"{summary['can_frames']:,} CAN frames."
        )
    if summary.get("realtime_factor"):
        yield f"It ran {summary['realtime_factor']:,.0f} times faster than the clock on the wall."
