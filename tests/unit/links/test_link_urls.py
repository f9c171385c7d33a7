"""CAN URLs: one grammar, and refusals that say what would be right and what is here."""

import pytest

from bms import links
from bms.errors import ConfigError, LinkError
from bms.links import CanUrl, parse

GOOD = {
    "inproc:car": {"kind": "inproc", "name": "car"},
    "socketcan:can0": {"kind": "socketcan", "name": "can0"},
    "slcan:/dev/ttyACM0": {"kind": "slcan", "name": "/dev/ttyACM0", "bitrate": 0},
    "slcan:/dev/ttyACM0@500000": {"kind": "slcan", "name": "/dev/ttyACM0", "bitrate": 500000},
    "slcan:/dev/ttyACM0@500000/2000000": {"bitrate": 500000, "data_bitrate": 2000000},
    "slcan:/dev/ttyUSB0@250000?baud=3000000": {"bitrate": 250000, "baud": 3000000},
    "slcan-server:": {"kind": "slcan-server", "name": ""},
    "slcan-server:/run/can0": {"kind": "slcan-server", "name": "/run/can0"},
    "socketcand:127.0.0.1:29536/can0": {"host": "127.0.0.1", "port": 29536, "name": "can0"},
    "socketcand:bench/vcan1": {"host": "bench", "port": 29536, "name": "vcan1"},
    "socketcand:[::1]:29536/can0": {"host": "::1", "port": 29536, "name": "can0"},
    "socketcand-server:127.0.0.1:0/can0": {"kind": "socketcand-server", "port": 0},
    "udp:127.0.0.1:20000": {"kind": "udp", "host": "127.0.0.1", "port": 20000, "local_port": 0},
    "udp:127.0.0.1:20000@20001": {"port": 20000, "local_port": 20001},
    "virtual:x": {"kind": "python", "interface": "virtual", "name": "x"},
    "pcan:PCAN_USBBUS1@500000": {"interface": "pcan", "name": "PCAN_USBBUS1", "bitrate": 500000},
    "vector:0?app_name=bms&poll_interval=1": {"settings": {"app_name": "bms", "poll_interval": 1}},
}  # fmt: skip
BAD = {
    "": "KIND:REST",
    "can0": "KIND:REST",
    "tarot:x": "one of inproc, ",
    "inproc:": "letters",
    "inproc:a b": "letters",
    "socketcan:": "network interface",
    "slcan:": "serial port",
    "slcan:/dev/ttyACM0@fast": "whole number",
    "slcan:/dev/ttyACM0@123456": "kbit/s",
    "slcan:/dev/ttyACM0@500000/3000000": "Mbit/s",
    "slcan:/dev/ttyACM0?speed=1": "no such option",
    "slcan:/dev/ttyACM0?baud": "KEY=VALUE",
    "socketcand:127.0.0.1:29536": "HOST:PORT/BUS",
    "socketcand:127.0.0.1:99999/can0": "from 1 to 65535",
    "socketcand:127.0.0.1:0/can0": "from 1 to 65535",
    "udp:127.0.0.1": "a port",
    "udp:20000": "a port",
    "udp:127.0.0.1:20000@x": "whole number",
    "virtual:x@fast": "whole number",
    "slcan:/dev/" + 103 * "x": "at most 107 bytes",
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_means_what_it_says(url: str) -> None:
    parsed = parse(url)
    assert isinstance(parsed, CanUrl) and parsed.text == url
    assert {key: getattr(parsed, key) for key in GOOD[url]} == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_a_wrong_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert BAD[url] in str(caught.value)


def test_an_unknown_kind_is_answered_with_all_that_this_machine_has() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("tarot:x")
    text = str(caught.value)
    for kind, purpose in links.available().items():
        assert kind in text
        if purpose.startswith("("):
            assert f"not here: {kind} {purpose}" in text
    assert "virtual" in text and "pcan" in text


def test_can_fd_cannot_be_asked_of_socketcand() -> None:
    for url in ("socketcand:127.0.0.1:29536/can0", "socketcand-server:127.0.0.1:0/can0"):
        with pytest.raises(ConfigError, match="does not carry it"):
            links.open(url, fd=True)


def test_a_host_that_does_not_exist_is_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigError, match="HOST"):
        links.open("udp:no-such-host.invalid:20000")


def test_a_kernel_without_can_says_so_at_once() -> None:
    if not links.available()["socketcan"].startswith("("):
        pytest.skip("this kernel has CAN; tools/socketcan tests it")
    with pytest.raises(LinkError, match="this kernel has no CAN"):
        links.open("socketcan:can0")


def test_a_bit_rate_of_the_url_goes_before_that_of_the_call() -> None:
    with links.open("slcan:/nonexistent/tty@250000", bitrate=500000) as link:
        assert link.state == "waiting" and "No such file" in link.reason
    with pytest.raises(ConfigError, match="BITRATE"):
        links.open("slcan:/nonexistent/tty", bitrate=123)
