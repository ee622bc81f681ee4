"""Server of a running study: one page and its data, from the loopback address, read only, to this host's name alone.

Nothing of the study's folder is handed out as a file: four addresses exist, three of them this package's own page, the
fourth the snapshot as JSON. A request with another `Host` is refused, so that no web page elsewhere can have its
own name point here and read along (DNS rebinding).
"""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

from dissensus.errors import DissensusError, SpecError
from dissensus.serve.snapshot import Watch

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost")
"""Host names under which the page may be asked for."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
STATE = "/state.json"


class StudyServer(ThreadingHTTPServer):
    """Serves one folder; `serve_forever` answers until `shutdown`, or until Ctrl-C ends it.

    Args:
        folder: of a study or of a recording.
        port: 0 for a free one; `url` says which.

    Raises:
        SpecError: the port cannot be had, or the folder is no study's and no recording's.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._watch, self._lock = Watch(folder), threading.Lock()
        _ = self._watch.is_study
        static = files("dissensus.serve") / "static"
        self.pages = {path: ((static / name).read_bytes(), kind) for path, (name, kind) in PAGES.items()}
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise SpecError(
                f"port {port} cannot be had ({error.strerror}): give another one by --port, or 0 for any free one"
            ) from None
        self.hosts = {f"{name}:{self.server_port}" for name in NAMES}
        if self.server_port == 80:
            self.hosts |= set(NAMES)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def state(self) -> tuple[HTTPStatus, bytes]:
        """The snapshot as JSON, or why there is none; taken by one request at a time."""
        with self._lock:
            try:
                status, text = HTTPStatus.OK, self._watch.take().to_json()
            except (DissensusError, OSError) as error:
                status, text = HTTPStatus.SERVICE_UNAVAILABLE, json.dumps({"error": str(error)})
        return status, text.encode()


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer
    server_version, sys_version = "dissensus", ""
    timeout = 10
    error_message_format, error_content_type = "%(code)d %(message)s\n", "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        """Answer with the page, a part of it, or the state."""
        status, body, kind = self._answer()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self) -> tuple[HTTPStatus, bytes, str]:
        plain = "text/plain; charset=utf-8"
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            return HTTPStatus.FORBIDDEN, f"Ask for {self.server.url}\n".encode(), plain
        path = self.path.partition("?")[0]
        if path in self.server.pages:
            return HTTPStatus.OK, *self.server.pages[path]
        if path == STATE:
            return *self.server.state(), "application/json"
        return HTTPStatus.NOT_FOUND, b"There is no such page.\n", plain

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a page that asks every two seconds would fill the terminal."""
