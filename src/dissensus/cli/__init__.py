"""The command line: parse, call, turn errors into messages and exit codes. Heavy imports wait for the command.

Exit codes: 0 done; 1 the work ran and something failed (named); 2 bad input or usage; 130 stopped with Ctrl-C.
"""

from __future__ import annotations

from dissensus.cli.app import main

__all__ = ["main"]
