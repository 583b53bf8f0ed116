"""A gateway that answers everything with bytes that aren't the ones asked for."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIE = b"These are not the bytes of that CID."


@dataclass
class LyingGateway:
    """`asked`: the path of each GET, in order."""

    url: str = ""
    asked: list[str] = field(default_factory=list[str])


@contextmanager
def lying_gateway() -> Generator[LyingGateway]:
    """Runs one on a free port of loopback, in a thread."""
    gateway = LyingGateway()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gateway.asked.append(self.path)
            self.do_HEAD()
            self.wfile.write(LIE)

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.ipld.raw")
            self.send_header("Content-Length", str(len(LIE)))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
