"""The command `sessionstore`.

    app        the commands under one name, and what becomes of errors
    looking    ls, show                             states     state, diff
    changing   rm, fork, undo, redo, rewind, prune  moving     export, import, copy, migrate
    caring     stats, check, bench

Rule 1: what a command prints is for people when a terminal reads it, tab-separated lines when a program does, and one
        JSON document with `--json`. Results go to the standard output, everything else to the standard error.
Rule 2: what was said in a session is printed with `--content` only.
Rule 3: it ends with 0 when all is well, 1 when something is not there, not right or not possible, 2 when it was asked
        in a wrong way, 130 when it was interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says, and end the process."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever has started this
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as this lives
    try:
        from .app import perform

        code = perform(arguments)
    except KeyboardInterrupt:  # which may come before anything else
        code = INTERRUPTED
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in ("rich", "typer", "click"):
            raise
        sys.stderr.write(
            f'the command needs the package "{exc.name}": python -m pip install "langgraph-sessionstore[cli]"\n'
        )
        code = 2
    sys.exit(code)
