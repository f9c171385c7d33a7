"""Files of a bridge: what is wrong is said before anything is opened; the examples are right."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bms.bridge import load, schema, table
from bms.cli import main
from bms.errors import ConfigError

LINKS = '[link.a]\nurl = "inproc:a"\n[link.b]\nurl = "inproc:b"\n'


def rule(text: str) -> str:
    return f'{LINKS}[[rule]]\nname = "r"\n{text}\n'


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[link.a]\nurl = "inproc:a"\n', "link"),
        (LINKS + "nonsense = 1\n", "link.b.nonsense"),
        (LINKS.replace("inproc:b", "nowhere:b"), "link.b.url"),
        (LINKS.replace("inproc:b", "inproc:a"), "link.b.url"),
        (LINKS + "paced = true\n", "link.b.bitrate_bps"),
        (LINKS.replace("inproc:b", "socketcand-server:0.0.0.0:1/x"), "link.b"),
        (LINKS + '[service]\nmetrics = "0.0.0.0:9"\n', "service"),
        (LINKS + '[service]\nmetrics = "x"\n', "service.metrics"),
        (LINKS + '[guard]\nmessage = ["Nothing"]\n', "guard.message"),
        (LINKS + '[link."a b"]\nurl = "inproc:c"\n', "link"),
        (f'dbc = "absent.dbc"\n{LINKS}', "dbc"),
        (rule('from = ["c"]'), "rule[0].from"),
        (rule('id = ["0x900-0x10"]'), "rule[0].id"),
        (rule('id = ["0x7FF-0x800"]'), "rule[0].id"),
        (rule('message = ["Nope*"]'), "rule[0].message"),
        (rule('where = [{signal = "PackVoltage"}]'), "rule[0].where"),
        (rule('message = ["VcuRequest"]\nset = { Mode = "fly" }'), "rule[0].set.Mode"),
        (rule('message = ["VcuRequest"]\nset = { PowerDemand = 1e6 }'), "rule[0].set.PowerDemand"),
        (rule("e2e = true"), "rule[0].e2e"),
        (rule('action = "drop"\nlatest = true'), "rule[0].action"),
        (rule("length = [5, 3]"), "rule[0].length"),
        (rule("impair = {cut_every_s = 1.0, cut_for_s = 2.0}"), "rule[0].impair.cut_for_s"),
        (rule("") + rule("").removeprefix(LINKS), "rule.name"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        table.rules(load(path))
    assert caught.value.key == key


def test_a_listener_may_be_opened_to_the_network_only_in_words_and_with_a_warning(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bridge.toml"
    text = LINKS.replace("inproc:b", "socketcand-server:0.0.0.0:1/x") + "open_to_network = true\n"
    path.write_text(text)
    (warning,) = load(path).warnings
    assert "without authentication" in warning


def test_the_example_is_right(project_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = project_dir / "examples" / "bridge" / "pack-to-car.toml"
    assert main(["bridge", "check", str(example)]) == 0
    assert "guarded: 080, 081, 0F1" in capsys.readouterr().out


def test_the_schema_names_every_table_of_a_file() -> None:
    assert {"link", "rule", "guard", "service"} <= set(
        schema()["$defs"]["BridgeSpec"]["properties"]
    )


def test_no_bridge_to_ask_is_a_link_error(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(f'{LINKS}[service]\ncontrol = "{tmp_path / "none.sock"}"\n')
    assert main(["bridge", "status", str(path)]) == 3
    assert main(["bridge", "check", str(tmp_path / "absent.toml")]) == 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_unit(project_dir: Path, tmp_path: Path) -> None:
    unit = (project_dir / "examples" / "bridge" / "bms-bridge@.service").read_text()
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True)
    if int(version.stdout.split()[1].split(".")[0]) < 253:
        unit = unit.replace("Type=notify-reload", "Type=notify")  # which came with 253
    (tmp_path / "bms-bridge@.service").write_text(unit)
    found = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "bms-bridge@.service")],
        capture_output=True, text=True,
    )  # fmt: skip
    complaints = [line for line in found.stderr.splitlines() if "bms-bridge" in line]
    assert found.returncode == 0 and not complaints
