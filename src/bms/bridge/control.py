"""The control socket: a Unix socket, one JSON object a line each way, for the same user or root."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from bms.bridge.config import Plan
from bms.errors import ConfigError, LinkError

REQUEST_MOST = 4096
PATIENCE_S = 1.0
PATH_MOST = 107
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def socket_path(plan: Plan) -> Path:
    """Where the bridge of a plan listens: `service.control`, else a name made of the file's."""
    if plan.spec.service.control:
        path = Path(plan.spec.service.control)
    else:
        folder = os.environ.get("RUNTIME_DIRECTORY") or os.environ.get("XDG_RUNTIME_DIR")
        base = Path(folder.split(":")[0]) if folder else Path(f"/tmp/bms-{os.getuid()}")
        path = base / f"bms-bridge-{plan.path.stem}.sock"
    if len(str(path).encode()) > PATH_MOST:
        raise ConfigError(plan.path, "service.control", str(path), f"at most {PATH_MOST} bytes")
    return path


class ControlServer:
    """Answers, one after the other, until its `with` is left."""

    def __init__(self, path: Path, answer: Answer):
        self.path, self._answer = path, answer
        self._stopping = threading.Event()
        self.refused = 0

    def __enter__(self) -> ControlServer:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_shared(self.path.parent):
                raise PermissionError(1, "its folder belongs to somebody else")
            if self.path.is_socket() and not _is_answered(self.path):
                self.path.unlink()  # of one that was killed
            self._socket = socket.socket(socket.AF_UNIX)
            before = os.umask(0o177)
            try:
                self._socket.bind(str(self.path))
            finally:
                os.umask(before)
        except OSError as error:
            raise LinkError(f"control socket {self.path}: {error.strerror}") from None
        self._socket.listen(8)
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._serve, name="bridge control", daemon=True)
        self._thread.start()
        return self

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError:
                continue
            with client, contextlib.suppress(OSError, ValueError):
                client.settimeout(PATIENCE_S)
                client.sendall(msgspec.json.encode(self._reply(client)) + b"\n")

    def _reply(self, client: socket.socket) -> dict[str, Any]:
        _, uid, _ = struct.unpack(
            "3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        if uid not in (0, os.getuid()):
            self.refused += 1
            return {"ok": False, "error": "not your bridge"}
        line = client.recv(REQUEST_MOST)
        while line and b"\n" not in line and len(line) < REQUEST_MOST:
            more = client.recv(REQUEST_MOST - len(line))
            if not more:
                break
            line += more
        try:
            request = msgspec.json.decode(line)
        except msgspec.DecodeError:
            request = None
        if not isinstance(request, dict):
            self.refused += 1
            return {"ok": False, "error": "one JSON object a line"}
        return self._answer(request)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        self.path.unlink(missing_ok=True)


def _is_shared(folder: Path) -> bool:
    """Somebody else could put another socket in the place of ours."""
    found = folder.stat()
    return found.st_uid not in (0, os.getuid()) or bool(
        found.st_mode & 0o022 and not found.st_mode & 0o1000
    )


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PATIENCE_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def ask(path: Path, **request: Any) -> dict[str, Any]:
    """Ask a running bridge. LinkError if there is none."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10.0)
        try:
            client.connect(str(path))
            client.sendall(msgspec.json.encode(request) + b"\n")
            reply = b""
            while not reply.endswith(b"\n"):
                piece = client.recv(65536)
                if not piece:
                    break
                reply += piece
        except OSError as error:
            raise LinkError(f"no bridge answers at {path} ({error})") from None
    try:
        found = msgspec.json.decode(reply)
    except msgspec.DecodeError:
        raise LinkError(f"the bridge at {path} gave no answer") from None
    assert isinstance(found, dict)
    return found
