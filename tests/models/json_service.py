"""A small JSON service on this machine that misbehaves on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What is sent back: an object as JSON, or bytes as they are, `late` by some seconds.

    `promised` more bytes are announced than come.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    late: float = 0.0
    promised: int = 0


@dataclass
class Service:
    """`answer` makes the reply from the number of the request (from 0) and its parsed body; all requests are kept."""

    answer: Callable[[int, Any], Reply]
    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0


@contextmanager
def serve(answer: Callable[[int, Any], Reply]) -> Iterator[Service]:
    service = Service(answer)
    lock = threading.Lock()
    under_way = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal under_way
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                under_way += 1
                service.most_at_once = max(service.most_at_once, under_way)
                number = len(service.bodies)
                service.bodies.append(body)
                service.headers.append({name.lower(): value for name, value in self.headers.items()})
                reply = service.answer(number, body)
            time.sleep(reply.late)
            with lock:
                under_way -= 1
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content) + reply.promised))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client did not wait
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64  # connections beyond the queue are tried again only after a second

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
