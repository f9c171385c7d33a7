"""What rules let through, change and drop: the compiled loop is driven pass by pass over buses in
this process."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bms import _bridge, links
from bms.bridge import load, table
from bms.bridge.daemon import _core, _open
from bms.links import Frame
from bms.protocols import dbc, e2e

numbers = itertools.count()
LINKS = """
[link.a]
url = "inproc:{a}"
[link.b]
url = "inproc:{b}"
"""
ZONED = LINKS.replace('"\n', '"\nzone = "z"\nfd = true\n')
FD = LINKS.replace('"\n', '"\nfd = true\n')


class Bench:
    """A bridge that is moved by hand, and who stands at its links."""

    def __init__(self, folder: Path, text: str, links_text: str = LINKS):
        number = next(numbers)
        self.path = folder / "bridge.toml"
        names = {name: f"{name}{number}" for name in ("a", "b", "c")}
        self.path.write_text(links_text.format(**names) + text)
        self.plan = load(self.path)
        self.links = {name: _open(self.plan, name) for name in self.plan.names}
        self.core = _core(self.plan, self.links, *table.rules(self.plan))
        self.ends = {
            name: links.open(link.url, ring=65536, fd=True) for name, link in self.links.items()
        }

    def send(self, frame: Frame, at: str = "a") -> list[Frame]:
        self.ends[at].send(frame)
        self.core.cycle()
        return self.take()

    def take(self, at: str = "b") -> list[Frame]:
        found = []
        while (frame := self.ends[at].receive()) is not None:
            found.append(frame)
        return found

    def counts(self, name: str = "b") -> dict[str, Any]:
        return self.core.link_counts(self.plan.names.index(name))

    def close(self) -> None:
        self.core.close()
        for link in [*self.ends.values(), *self.links.values()]:
            link.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Any]:
    made: list[Bench] = []

    def make(text: str, links_text: str = LINKS) -> Bench:
        made.append(Bench(tmp_path, text, links_text))
        return made[-1]

    yield make
    for one in made:
        one.close()


def rule(text: str, name: str = "r") -> str:
    return f'[[rule]]\nname = "{name}"\nfrom = ["a"]\nto = ["b"]\n{text}\n'


def test_without_a_rule_nothing_crosses_between_zones_and_all_within_one(bench: Any) -> None:
    apart = bench("")
    assert apart.send(Frame(0x123, b"x")) == []
    assert apart.counts()["dropped_default"] == 1
    together = bench("", ZONED)
    assert [f.id for f in together.send(Frame(0x123, b"x"))] == [0x123]


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        ("id = [0x100]", Frame(0x100), Frame(0x101)),
        ('id = ["0x100-0x10F"]', Frame(0x10F), Frame(0x110)),
        ("id = [0x100]", Frame(0x100), Frame(0x100, extended=True)),
        ("id = [0x18FF50E5]", Frame(0x18FF50E5, extended=True), Frame(0x0E5)),
        ("id = [0x100]\nextended = true", Frame(0x100, extended=True), Frame(0x100)),
        ("id_mask = 0x7F0\nid_value = 0x350", Frame(0x35A), Frame(0x36A)),
        ("extended = false", Frame(0x1), Frame(0x1, extended=True)),
        ("fd = true", Frame(0x1, bytes(12), fd=True), Frame(0x1, bytes(8))),
        ("remote = false", Frame(0x1), Frame(0x1, remote=True)),
        ("length = [2, 4]", Frame(0x1, bytes(2)), Frame(0x1, bytes(5))),
        (
            "where = [{start = 8, bits = 8, least = 3, most = 5}]",
            Frame(0x1, b"\x00\x05"), Frame(0x1, b"\x05\x06"),
        ),
        ("where = [{start = 8, bits = 8}]", Frame(0x1, b"ab"), Frame(0x1, b"a")),
        (
            "where = [{start = 0, bits = 16, signed = true, most = -1}]",
            Frame(0x1, b"\xff\xff"), Frame(0x1, b"\xff\x7f"),
        ),
        ('message = ["Status*"]', None, Frame(0x7FF)),
    ],
)  # fmt: skip
def test_a_rule_applies_to_what_it_names(
    bench: Any, match: str, yes: Frame | None, no: Frame
) -> None:
    text = match.replace("Status*", next(iter(dbc.codec().messages)))
    one = bench(rule(text), FD)
    if yes is not None:
        assert len(one.send(yes)) == 1
    assert one.send(no) == []
    assert one.counts()["dropped_default"] == 1


def test_direction_counts_and_the_first_verdict_ends_it(bench: Any) -> None:
    one = bench(rule('id = [0x100]\naction = "drop"', "no") + rule("", "yes"))
    assert one.send(Frame(0x100)) == []
    assert len(one.send(Frame(0x101))) == 1
    one.send(Frame(0x101), at="b")
    assert one.take("a") == []
    assert one.core.rule_counts(0)["dropped"] == 1 and one.core.rule_counts(1)["passed"] == 1


def test_fields_agree_with_the_codec(seed: int) -> None:
    random_ = random.Random(seed)
    codec = dbc.codec()
    for message in codec.messages.values():
        for signal in message.signals:
            if signal.multiplexer_ids or signal.is_float or signal.length > 63:
                continue
            data = random_.randbytes(message.length)
            spec = (signal.start, signal.length, int(signal.byte_order == "big_endian"),
                    int(signal.is_signed), 0, 0)  # fmt: skip
            raw = message.decode(data, decode_choices=False, scaling=False)[signal.name]
            assert _bridge.field_get(spec, data) == raw
            other = _bridge.field_set((*spec[:4], raw, 0), bytes(64))
            assert _bridge.field_get(spec, other) == raw


@pytest.mark.parametrize(("start", "length"), [(7, 12), (3, 4), (5, 1), (23, 16)])
def test_big_endian_fields_are_those_of_a_dbc_file(start: int, length: int, seed: int) -> None:
    import cantools

    text = f'VERSION ""\nBU_:\nBO_ 1 M: 8 X\n SG_ S : {start}|{length}@0- (1,0) [0|0] "" X\n'
    message = cantools.database.load_string(text, "dbc").messages[0]
    for data in (random.Random(seed).randbytes(8), bytes(8), b"\xff" * 8):
        raw = message.decode(data, scaling=False)["S"]
        assert _bridge.field_get((start, length, 1, 1, 0, 0), data) == raw
        made = message.encode({"S": raw}, scaling=False)
        assert _bridge.field_set((start, length, 1, 1, raw, 0), bytes(64))[:8] == made


def test_identifier_and_bytes_are_changed_in_order(bench: Any) -> None:
    one = bench(
        rule('action = "continue"\nremap = {id = 0x200, mask = 0x700}', "first")
        + rule("id = [0x223]\nbytes = [{at = 1, value = 0x0A, mask = 0x0F}]", "second")
    )
    assert one.send(Frame(0x123, b"\x11\x55\x33")) == [Frame(0x223, b"\x11\x5a\x33")]
    assert one.send(Frame(0x124, b"\x11")) == []


def test_a_signal_is_set_and_protection_renewed_only_over_what_was_right(bench: Any) -> None:
    codec = dbc.codec()
    name = "VcuRequest"
    message, data_id = codec.messages[name], codec.data_ids[name]
    one = bench(
        rule(f'message = ["{name}"]\nset = {{ Mode = "drive", PowerDemand = -1.5 }}\ne2e = true')
    )
    receiver = e2e.Receiver(data_id)
    for counter in (3, 4, 4, 7):
        frame = Frame(message.frame_id, e2e.p01_protect(bytes(message.length), data_id, counter))
        (got,) = one.send(frame)
        values = message.decode(got.data)
        assert (values["Mode"], values["PowerDemand"]) == ("drive", -1.5)
        receiver.check(got.data)
    assert [receiver.counts[s] for s in e2e.Status] == [2, 0, 1, 1, 0, 0]
    assert one.send(Frame(message.frame_id, b"\x00" + frame.data[1:])) == []
    assert one.counts()["dropped_e2e"] == 1


def test_a_rate_is_kept_and_bursts_are_allowed(bench: Any) -> None:
    one = bench(rule("rate_per_s = 0.001\nburst = 3"))
    assert sum(len(one.send(Frame(0x1, bytes([k])))) for k in range(10)) == 3
    assert one.counts()["dropped_limit"] == 7 and one.core.rule_counts(0)["limited"] == 7


def test_guarded_identifiers_reach_a_real_bus_only_while_armed(bench: Any) -> None:
    one = bench(rule("") + "[guard]\nannounce = 0\n", LINKS + "real = true\n")
    identifier = dbc.codec().messages["VcuRequest"].frame_id
    assert one.send(Frame(identifier, bytes(8))) == []
    assert one.counts()["dropped_guard"] == 1
    one.core.arm(30.0)
    assert len(one.send(Frame(identifier, bytes(8)))) == 1 and one.core.armed_s > 20.0
    one.core.arm(0.0)
    assert one.send(Frame(identifier, bytes(8))) == []
    assert len(one.send(Frame(0x7FF))) == 1


def test_a_rule_cannot_smuggle_a_guarded_identifier(bench: Any) -> None:
    identifier = dbc.codec().messages["IoOutputs"].frame_id
    one = bench(rule(f"remap = {{id = {identifier}}}"), LINKS + "real = true\n")
    assert one.send(Frame(0x555, bytes(8))) == []
    assert one.counts()["dropped_guard"] == 1


def test_frames_that_crossed_too_many_bridges_end(bench: Any) -> None:
    one = bench("", ZONED)
    batch = np.zeros(_bridge.HOPS + 2, links.FRAME_DTYPE)
    batch["reserved"] = np.arange(len(batch))
    one.ends["a"].send_batch(batch)
    one.core.cycle()
    assert len(one.take()) == _bridge.HOPS
    assert one.counts("a")["dropped_hops"] == 2


IMPAIR = "impair = {{ {} }}"


def fates(one: Bench, count: int) -> list[bytes]:
    for k in range(count):
        one.ends["a"].send(Frame(0x10, k.to_bytes(4, "big")))
    for _ in range(count // 100 + 3):
        one.core.cycle()
    return [f.data for f in one.take()]


def test_impairments_are_as_frequent_as_declared_and_repeat_with_the_seed(bench: Any) -> None:
    text = rule(IMPAIR.format("loss_frac = 0.2, duplicate_frac = 0.1, corrupt_frac = 0.05"))
    one, again = bench(text), bench(text)
    told, told_again = fates(one, 4000), fates(again, 4000)
    assert told == told_again
    counts = one.core.rule_counts(0)
    assert counts["matched"] == 4000
    assert len(told) == 4000 - counts["lost"] + counts["duplicated"]
    for name, part in (("lost", 0.2), ("duplicated", 0.1 * 0.8), ("corrupted", 0.05 * 0.8)):
        assert abs(counts[name] - 4000 * part) < 5 * (4000 * part) ** 0.5
    other = bench(text.replace('"r"', '"s"'))
    assert fates(other, 4000) != told


def test_delayed_frames_keep_their_order_and_held_back_ones_do_not(bench: Any) -> None:
    from bms._links import now_us

    one = bench(rule(IMPAIR.format("delay_ms = 5.0, jitter_ms = 20.0")))
    for k in range(50):
        one.ends["a"].send(Frame(0x10, bytes([k])))
    begun = now_us()
    one.core.cycle(begun)
    assert one.take() == [] and one.core.delayed == 50
    one.core.cycle(begun + 30_000)
    assert [f.data[0] for f in one.take()] == list(range(50))
    two = bench(rule(IMPAIR.format("reorder_frac = 0.3, reorder_ms = 50.0")))
    for k in range(50):
        two.ends["a"].send(Frame(0x10, bytes([k])))
    two.core.cycle(begun)
    two.core.cycle(begun + 60_000)
    got = [f.data[0] for f in two.take()]
    assert sorted(got) == list(range(50)) and got != sorted(got)


def test_a_cut_path_loses_all_while_it_lasts(bench: Any) -> None:
    one = bench(rule(IMPAIR.format("cut_every_s = 2.0, cut_for_s = 1.0")))
    start = one.core.started_us
    arrived = []
    for at_s in (0.2, 0.8, 1.2, 1.8, 2.2, 3.5):
        one.ends["a"].send(Frame(0x10))
        one.core.cycle(start + round(1e6 * at_s))
        arrived.append(len(one.take()))
    assert arrived == [1, 1, 0, 0, 1, 0]


def test_every_frame_is_accounted_for(bench: Any, seed: int) -> None:
    random_ = random.Random(seed)
    one = bench(
        rule('id = ["0x000-0x0FF"]\naction = "drop"', "no")
        + rule('id = ["0x100-0x1FF"]\nimpair = {loss_frac = 0.5}', "bad")
        + rule('id = ["0x200-0x5FF"]\nrate_per_s = 1.0\nburst = 200', "slow")
    )
    count = 3000
    for _ in range(count):
        one.ends["a"].send(Frame(random_.randrange(0x800), random_.randbytes(random_.randrange(9))))
    for _ in range(50):
        one.core.cycle()
    arrived = len(one.take())
    counts = one.counts()
    lost = sum(n for name, n in counts.items() if name.startswith("dropped_"))
    assert counts["sent"] == arrived and arrived + lost == count
    assert one.counts("a")["received"] == count
    assert min(counts[f"dropped_{cause}"] for cause in ("rule", "default", "impair", "limit")) > 0


GATEWAY = """
[[rule]]
name = "no diagnostics"
from = ["a"]
to = ["b"]
id = ["0x7DF-0x7EF", "0x18DA0000-0x18DBFFFF"]
action = "drop"
[[rule]]
name = "allowed"
from = ["a"]
to = ["b"]
id = [0x100]
"""


@pytest.mark.parametrize(
    ("at", "frame", "cause", "by_rule"),
    [
        ("a", Frame(0x101), "dropped_default", 0),
        ("a", Frame(0), "dropped_default", 0),
        ("a", Frame(0x100, extended=True), "dropped_default", 0),
        ("b", Frame(0x100), "dropped_default", 0),
        ("b", Frame(0x7E0), "dropped_default", 0),
        ("a", Frame(0x7DF, bytes(8)), "dropped_rule", 1),
        ("a", Frame(0x7E0, b"\x02\x10\x02"), "dropped_rule", 1),
        ("a", Frame(0x18DA10F1, b"\x02\x11\x01", extended=True), "dropped_rule", 1),
        ("a", Frame(0x18DB33F1, b"\x02\x11\x01", extended=True), "dropped_rule", 1),
    ],
)
def test_a_frame_no_rule_allows_never_arrives_and_is_counted_by_cause(
    bench: Any, at: str, frame: Frame, cause: str, by_rule: int
) -> None:
    one = bench(GATEWAY)
    far = "b" if at == "a" else "a"
    for _ in range(50):
        one.ends[at].send(frame)
        one.core.cycle()
    assert one.take(far) == []
    counts = one.counts(far)
    assert counts[cause] == 50 and counts["sent"] == 0
    assert one.core.rule_counts(0)["dropped"] == 50 * by_rule
    assert one.core.rule_counts(1)["matched"] == 0
    assert [f.id for f in one.send(Frame(0x100))] == [0x100]
