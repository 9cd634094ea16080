"""The storage that a command works on, and the options that all commands have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from ..backends import directory_of
from ..backends.keyring import VARIABLE
from ..backends.sqlite_file import NAME
from ..errors import ConfigurationError
from ..manager import SessionManager
from .output import safe

Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url",
        "-u",
        metavar="URL",
        envvar="SESSIONSTORE_URL",
        help="The storage: a directory, or a URL.",
        show_envvar=True,
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Content: TypeAlias = Annotated[bool, typer.Option("--content", help="Print what was said as well.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Filter: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        metavar="NAME=VALUE",
        help="Only with this metadata; 3 and true are JSON. May be given again.",
    ),
]
SessionId: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The session.", show_default=False)]


@contextmanager
def storage(
    url: str | None, *, create: bool = False, plain: bool = False, alone: bool = False, **options: Any
) -> Iterator[SessionManager]:
    """The manager of a storage. One that is not there is an error, unless it may be made.

    It is encrypted when there are keys in the environment, unless it is said to be `plain`. Who is content `alone` may
    work in memory.
    """
    if not url:
        raise typer.BadParameter("name the storage: --url ./sessions, or set SESSIONSTORE_URL")
    if url.strip().lower().startswith("memory:") and not alone:
        raise ConfigurationError("memory: begins empty in each process, and ends with it: name a directory, or a URL")
    directory = directory_of(url)
    if directory is not None and not create and not Path(directory, NAME).exists():
        why = f"no {NAME} in it" if Path(directory).is_dir() else "no such directory"
        raise ConfigurationError(f"there is no storage at {directory}: {why}")
    encrypted = VARIABLE in os.environ and not plain  # one that is set and empty is an error, and no plain text
    with SessionManager.from_url(url, encryption=encrypted or None, **options) as manager:
        yield manager


def ask(question: str, yes: bool) -> None:
    """Go on only if that is wanted."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: say --yes to do it")
    sys.stderr.write(f"{safe(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort
