"""A guard that refuses connections to other machines, for checks that an audit needs none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["no_network"]


@contextmanager
def no_network() -> Iterator[None]:
    """Connections to another host are refused, and lead to an AssertionError even where the refusal is swallowed."""
    originals = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}
    hosts: list[str] = []

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            host = str(address[0]) if isinstance(address, tuple) else ""
            if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
                hosts.append(host)
                raise ConnectionRefusedError(f"connection to {host} refused")
            return original(self, address)

        return connect

    for name, original in originals.items():
        setattr(socket.socket, name, guarded(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(socket.socket, name, original)
        assert not hosts, f"the audit opened a connection to {', '.join(sorted(set(hosts)))}"
