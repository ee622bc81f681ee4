"""Command `serve`: a page of a running study, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.options import OpenPage
from dissensus.cli.output import say


def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A study's folder, or a recording's; not a URL.")
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where the page is; 0: any free port.")
    ] = 8765,
    open_page: OpenPage = False,
) -> None:
    """Show a study while it runs: cells, progress, curves as they grow.

    Only this machine can see the page, and nothing can be changed by it. Ctrl-C ends it. No torch is needed.
    """
    from dissensus.serve.server import StudyServer

    with StudyServer(folder, port) as server:
        say(f"serving {folder} at {server.url} (Ctrl-C ends)")
        if open_page:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
