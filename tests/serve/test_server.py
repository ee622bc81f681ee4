"""The page of a running study: loopback alone, this host's name alone, read only, nothing of the folder as a file."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus import annotation_entropy, load_curves
from dissensus.errors import SpecError
from dissensus.report.palette import COLOURS
from dissensus.serve.server import HEADERS, StudyServer
from dissensus.serve.snapshot import Watch
from dissensus.stats import entropy_groups
from dissensus.store import CurvesWriter
from dissensus.study.grid import expand
from processes import PATIENCE
from synthetic_study import dataset, made_losses, study_spec, write_cell, write_study

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path / "made", study_spec(), failed=(1,))
    return tmp_path / "made"


@pytest.fixture
def server(study: Path) -> Iterator[StudyServer]:
    with StudyServer(study) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(
    server: StudyServer, path: str, *, host: str | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """The answer over a socket: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_the_state_has_each_cell_and_its_curves(server: StudyServer, study: Path) -> None:
    status, headers, body = ask(server, "/state.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    state = json.loads(body)
    assert state["name"] == "made"
    first, second = state["cells"]
    assert (first["state"], second["state"], second["lines"]) == ("done", "failed", [])
    assert [(line["group"], line["n"]) for line in first["lines"]] == [
        ("contested", 20),
        ("middle", 20),
        ("settled", 20),
    ]
    reading = load_curves(study / "cells" / first["cell"])
    groups = entropy_groups(annotation_entropy(reading.counts))
    contested = first["lines"][0]
    assert contested["progress"] == reading.progress.tolist()
    assert contested["mean"] == pytest.approx(reading.losses[groups == "contested"].mean(axis=0).tolist())


def test_the_page_and_its_parts_come_with_a_strict_policy(server: StudyServer) -> None:
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        status, headers, body = ask(server, path)
        assert status == 200
        assert body
        assert headers["Content-Type"].startswith(kind)
        assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    status, headers, body = ask(server, "/", method="HEAD")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.evil.example:{port}", "localhost:1"],
)
@pytest.mark.parametrize("path", ["/", "/state.json"])
def test_another_host_is_refused(server: StudyServer, host: str, path: str) -> None:
    status, headers, body = ask(server, path, host=host.format(port=server.server_port))
    assert status == 403
    assert b"made" not in body
    assert headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert ask(server, path, host=f"localhost:{server.server_port}")[0] == 200


def test_no_host_and_two_hosts_are_refused(server: StudyServer) -> None:
    good = f"Host: 127.0.0.1:{server.server_port}\r\n"
    for lines in ("", good + "Host: evil.example\r\n", good + good):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=PATIENCE) as made:
            made.sendall(f"GET /state.json HTTP/1.1\r\n{lines}\r\n".encode())
            assert made.makefile("rb").readline().split()[1] == b"403"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/study.yaml",
            "/cells/",
            "/../study.yaml",
            "/%2e%2e/study.yaml",
            "/static/page.html",
            "/page.js/",
        ),
        *("http://127.0.0.1/study.yaml", "/etc/passwd", "/state.json/../study.yaml"),
    ],
)
def test_no_file_is_served(server: StudyServer, path: str) -> None:
    status, _, body = ask(server, path, host=f"localhost:{server.server_port}")
    assert (status, body) == (404, b"There is no such page.\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(server: StudyServer, method: str, study: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in study.rglob("*"))
    status, headers, _ = ask(server, "/state.json", method=method)
    assert status == 501
    assert headers["Content-Type"].startswith("text/plain")
    ask(server, "/state.json")
    assert sorted((path, path.stat().st_mtime_ns) for path in study.rglob("*")) == before


def test_it_listens_at_the_loopback_address_alone(server: StudyServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_curves_grow_while_a_cell_is_written(tmp_path: Path) -> None:
    study = study_spec()
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    cell = expand(study)[0]
    watch = Watch(folder)
    assert [one.state for one in watch.take().cells] == ["pending", "pending"]
    data = dataset(60)
    writer = CurvesWriter(folder / "cells" / cell.cell_id, data, total_steps=100, regime="held_out")
    seen = []
    for step in (0, 50):
        p = np.full(60, 0.5 if step else 1 / 3)
        writer.write(
            step, data.ids, np.log(np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=1)).astype(np.float32)
        )
        one = watch.take().cells[0]
        seen.append((one.points, [round(loss, 3) for line in one.lines[:1] for loss in line.mean if loss]))
    assert seen == [(1, [1.099]), (2, [1.099, 0.693])]


def test_a_single_recording_is_shown(tmp_path: Path) -> None:
    write_cell(tmp_path / "mine", dataset(60), made_losses(60, 5, 0))
    (cell,) = Watch(tmp_path / "mine").take().cells
    assert (cell.cell, cell.state, cell.step, cell.total_steps, cell.points) == ("mine", "done", 100, 100, 5)


def test_a_damaged_cell_is_said_and_the_others_are_shown(study: Path, server: StudyServer) -> None:
    (folder, *_) = [path for path in (study / "cells").iterdir() if (path / "manifest.json").is_file()]
    (folder / "examples.parquet").write_bytes(b"no parquet")
    state = json.loads(ask(server, "/state.json")[2])
    cell = next(one for one in state["cells"] if one["cell"] == folder.name)
    assert cell["error"].startswith("its curves cannot be read just now: ")
    (study / "study.yaml").unlink()
    status, _, body = ask(server, "/state.json")
    assert (status, "study.yaml" in json.loads(body)["error"]) == (503, True)


def test_hostile_names_reach_the_page_as_text(tmp_path: Path) -> None:
    """They are JSON, and the script sets texts alone; nothing that parses HTML or runs text is called."""
    spec = study_spec(name="made", title=HOSTILE)
    write_study(tmp_path / "made", spec, failed=(0, 1))
    for status in (tmp_path / "made").rglob("status.json"):
        status.write_text(json.dumps({"state": "failed", "error": HOSTILE}), encoding="utf-8")
    assert json.loads(Watch(tmp_path / "made").take().to_json())["cells"][0]["error"] == HOSTILE
    script = (files("dissensus.serve") / "static" / "page.js").read_text(encoding="utf-8")
    parses = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|srcdoc|\.style\b|\.href"
    assert not re.search(parses, script)


def test_the_page_has_no_inline_script_or_style_and_asks_nobody_else() -> None:
    static = files("dissensus.serve") / "static"
    page = (static / "page.html").read_text(encoding="utf-8")
    seen: list[tuple[str, dict[str, Any]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Tags().feed(page)
    assert all("src" in found for tag, found in seen if tag == "script")
    assert not any(tag == "style" or "style" in found or "onload" in found for tag, found in seen)
    addresses = [
        found.get("src") or found.get("href") for _, found in seen if found.get("src") or found.get("href")
    ]
    assert addresses == ["/page.css", "/page.js"]
    css = (static / "page.css").read_text(encoding="utf-8")
    assert "url(" not in css
    assert all(f"--{name}: {COLOURS[name]}" in css for name in ("contested", "middle", "settled", "all"))


def test_a_taken_port_and_another_folder_are_said(server: StudyServer, study: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"port {server.server_port} cannot be had .*--port"):
        StudyServer(study, server.server_port)
    with pytest.raises(SpecError, match=r"neither a study's folder .* nor a recording's"):
        StudyServer(tmp_path)


def test_the_command_serves_until_ctrl_c(study: Path) -> None:
    command = "import sys; from dissensus.cli import main; sys.argv = ['dissensus', *sys.argv[1:]]; main()"
    arguments = [sys.executable, "-u", "-c", command, "serve", str(study), "--port", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "COLUMNS": "500"}
    with subprocess.Popen(arguments, env=environment, **pipes) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
            assert found, said
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)
            connection.request("GET", "/state.json")
            assert json.loads(connection.getresponse().read())["name"] == "made"
            connection.close()
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, out, errors) == (0, "stopped\n", "")
