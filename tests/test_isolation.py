"""The guards that every test relies on: no connection leaves the machine, the user's folders stay untouched."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest


def test_outward_connection_is_refused_and_written_down(outward_connections: list[str]) -> None:
    with socket.socket() as client, pytest.raises(ConnectionRefusedError, match="do not use the network"):
        client.connect(("192.0.2.1", 80))
    assert outward_connections == ["('192.0.2.1', 80)"]
    outward_connections.clear()  # else the guard fails this very test


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5) as client:
        assert client.getpeername() == server.getsockname()


def test_folders_of_the_user_stay_untouched() -> None:
    for name in ("ASSAYMARK_CACHE", "ASSAYMARK_SALT"):
        assert Path.home() not in Path(os.environ[name]).parents
