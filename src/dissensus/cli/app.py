"""The root command and its groups, and the one place where errors become messages."""

from __future__ import annotations

import errno
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dissensus.cli import (
    claims,
    data,
    exchange,
    export,
    init,
    merge,
    models,
    queue,
    rates,
    serve,
    settling,
    status,
    studies,
    study,
    tables,
    triage,
)
from dissensus.cli.output import note
from dissensus.errors import DissensusError

EPILOG = (
    "Start with `dissensus quickstart`, or with your own data: `dissensus init FILE`. "
    "Exit codes: 0 done; 1 the work ran and something failed (named); "
    "2 bad input or usage; 130 stopped with Ctrl-C."
)


class _Root(TyperGroup):
    """Turns the package's errors into a message and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was parsed."""
        try:
            return super().invoke(ctx)
        except DissensusError as error:
            _complain(str(error), debug=bool(ctx.params.get("debug")))
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            place = f"{error.filename}: " if error.filename is not None else ""
            _complain(f"{place}{error.strerror or error}", debug=bool(ctx.params.get("debug")))
        except KeyboardInterrupt:
            resumes = ctx.invoked_subcommand in ("run", "quickstart", "rates")
            note("stopped; run the same command again to resume" if resumes else "stopped")
            raise typer.Exit(130) from None
        raise typer.Exit(2)


def _complain(message: str, *, debug: bool) -> None:
    if debug:
        typer.echo(traceback.format_exc(), err=True)
    note(f"error: {message}")


app = typer.Typer(
    cls=_Root,
    name="dissensus",
    help="What a fine-tune does, example by example, to data on which people disagree.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
study.register(app)
app.command()(init.init)
app.command()(rates.rates)
app.command()(status.status)
app.command()(claims.claims)
app.command()(tables.tables)
app.command()(triage.triage)
app.command()(queue.queue)
app.command()(merge.merge)
app.command()(settling.settling)
app.command()(serve.serve)
app.add_typer(studies.app, name="studies", help="Built-in studies: list, show.")
app.add_typer(data.app, name="data", help="Data sets: list, show, fetch, check.")
app.add_typer(models.app, name="models", help="Models with a short name: list, fetch.")
app.add_typer(
    exchange.app, name="import", help="What other tools recorded, into a curves store: cartography, aum."
)
app.add_typer(export.app, name="export", help="A study's results in the forms of others: lewidi.")


def _version(requested: bool) -> None:
    if requested:
        from dissensus import __version__

        typer.echo(f"dissensus {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error arose.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Set what holds for every command; `_Root` reads it."""


def main() -> None:
    """Entry point of the command `dissensus`."""
    app()
