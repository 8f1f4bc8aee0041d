"""A server for one page: on this machine alone, exact names alone, and for no other page's requests."""

from __future__ import annotations

import shutil
import socketserver
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from compressor.errors import UsageError
from compressor.web.page import POLICY, Page

HERE = "127.0.0.1"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}

HEADERS = {
    "Content-Security-Policy": "; ".join(f"{k} {v}" for k, v in {**POLICY, "frame-ancestors": "'none'"}.items()),
    # Both, or WebAssembly gets no threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The report is one file with its style and pictures in it, and has no script."""


class PageServer(ThreadingHTTPServer):
    """Answers GET and HEAD for a page's files.

    Raises:
        UsageError: the port is taken, or none of ours to take.
    """

    daemon_threads = True

    def __init__(self, page: Page, port: int = 0) -> None:
        self.page = page
        try:
            super().__init__((HERE, port), Handler)
        except OSError as error:
            raise UsageError(
                f"--port {port}: {error.strerror or error}; leave it out, and a free one is taken"
            ) from error

    def server_bind(self) -> None:
        """Without asking for this machine's name, which may wait for a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HERE, self.server_address[1]

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HERE}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no trouble."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: PageServer
    server_version = "compressor"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        """A file of the page."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Its headers."""
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a person looks at the page, not here."""

    def _answer(self, *, body: bool) -> None:
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HERE}:{port}", f"localhost:{port}"):
            # A page from elsewhere can point its own name at 127.0.0.1 (DNS rebinding); it can't change this header.
            return self._refuse(HTTPStatus.FORBIDDEN, "this page is at " + self.server.url)
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        found = self.server.page.files.get(name)
        if found is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "not here")
        try:
            size = len(found) if isinstance(found, bytes) else found.stat().st_size
            file = None if isinstance(found, bytes) else found.open("rb")
        except OSError:
            return self._refuse(HTTPStatus.GONE, "removed meanwhile")
        self.send_response(HTTPStatus.OK)
        self._headers(TYPES.get(Path(name).suffix, "application/octet-stream"), size, report=name == "report.html")
        if file is None:
            if body and isinstance(found, bytes):
                self.wfile.write(found)
            return None
        with file:
            if body:
                shutil.copyfileobj(file, self.wfile)
        return None

    def _headers(self, kind: str, size: int, *, report: bool = False) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        for name, value in (HEADERS | ({"Content-Security-Policy": REPORT_POLICY} if report else {})).items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        content = f"{reason}\n".encode()
        self.send_response(status)
        self._headers("text/plain; charset=utf-8", len(content))
        if self.command != "HEAD":
            self.wfile.write(content)
