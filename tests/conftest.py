"""What every test gets: no network, one thread, folders of its own, and the optional real data."""

from __future__ import annotations

import os

# Before numpy, torch, daft or ray are imported anywhere: they read these once. Child processes inherit them.
os.environ.update(
    DO_NOT_TRACK="1",
    DAFT_ANALYTICS_ENABLED="0",
    DAFT_PROGRESS_BAR="0",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
)

import ipaddress
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real research data sets: $ASSAYMARK_SHARED_DATA, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("ASSAYMARK_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real data here: point ASSAYMARK_SHARED_DATA at the folder that holds them")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cache and salt of the user stay untouched."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAYMARK_CACHE", str(folder / "cache"))
        patch.setenv("ASSAYMARK_SALT", str(folder / "salt"))
        yield


@cache
def _own_addresses() -> frozenset[str]:
    """Addresses of this machine: Ray's processes talk to each other over them."""
    try:
        return frozenset(str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None))
    except socket.gaierror:
        return frozenset()


def _stays_here(family: int, address: Any) -> bool:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = str(address[0])
    if host in ("", "localhost") or host in _own_addresses():
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def outward_connections() -> Iterator[list[str]]:
    """Every attempt to connect elsewhere raises and is written down."""
    attempts: list[str] = []
    # Kept before patching: looking up this machine's own addresses must not go through the guard.
    _own_addresses()

    def guarded(original: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            # Connecting a datagram socket sends nothing; Ray does it to learn which address this machine has.
            if self.type != socket.SOCK_DGRAM and not _stays_here(self.family, address):
                attempts.append(str(address))
                raise ConnectionRefusedError(f"tests do not use the network: connection to {address} refused")
            return original(self, address)

        return connect

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
        yield attempts


@pytest.fixture(autouse=True)
def no_network(outward_connections: list[str]) -> Iterator[None]:
    """A test fails when its code tried to leave this machine, even when that code swallowed the refusal."""
    before = len(outward_connections)
    yield
    attempts = outward_connections[before:]
    del outward_connections[before:]
    if attempts:
        pytest.fail(f"tried to connect to {', '.join(attempts)}")
