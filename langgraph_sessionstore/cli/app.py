"""The commands under one name, and what becomes of errors: a sentence, and how the process ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import ConfigurationError, SessionStoreError
from . import INTERRUPTED
from .caring import caring
from .changing import changing
from .looking import looking
from .moving import moving
from .output import safe
from .states import states

BROKEN_PIPE = 141  # as of a process that is ended by its signal


class _Commands(TyperGroup):
    """The commands, and what becomes of errors in them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except SessionStoreError as exc:
            _end(f"error: {exc}", 2 if isinstance(exc, ConfigurationError) else 1)
        except KeyboardInterrupt:
            _end("interrupted", INTERRUPTED)
        except OSError as exc:
            sys.exit(_unwritten(exc))
        return result


def _end(text: str, code: int) -> NoReturn:
    sys.stderr.write(f"{safe(text)}\n")
    sys.exit(code)


def _unwritten(exc: OSError) -> int:
    """What was to be printed cannot be, and nothing else shall be tried there: how the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(exc, BrokenPipeError):  # whoever reads has read enough
        return BROKEN_PIPE
    with suppress(OSError):
        sys.stderr.write(f"error: the output cannot be written: {exc.strerror or exc}\n")
    return 1


app = typer.Typer(
    name="sessionstore",
    cls=_Commands,
    help="Look at sessions, change them, move them, and take care of their storage.\n\n"
    "The storage is named by --url or SESSIONSTORE_URL: a directory, or a URL such as redis://localhost:6379. When "
    "SESSIONSTORE_ENCRYPTION_KEYS is set, it is opened with these keys.",
    epilog="It ends with 0 when all is well, 1 when something is not there, not right or not possible, 2 when it was "
    "asked in a wrong way, 130 when it was interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for group in (looking, states, changing, moving, caring):
    for command in group.registered_commands:
        app.registered_commands.append(command)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"{__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


def perform(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says: how the process ends."""
    try:
        try:
            app(None if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except OSError as exc:
        return _unwritten(exc)
    return 0
