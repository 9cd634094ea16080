"""Commands that bring sessions elsewhere: export, import, copy, migrate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..backends import directory_of
from ..errors import ConfigurationError
from ..manager import SessionManager
from . import naming
from .opening import Json, SessionId, Url, storage
from .output import Output
from .parsing import count

moving = typer.Typer()
Threads = Annotated[
    list[str] | None, typer.Option("--session", "-s", metavar="ID", help="Only this one. May be given again.")
]
Verify = Annotated[bool, typer.Option("--verify", help="Read both sides afterwards, and compare.")]


@moving.command("export")
def export_(
    session_id: SessionId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to.", show_default=False)],
    url: Url = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a whole session to a file of JSON lines: messages, checkpoints, usage, what can be undone.

    The file appears when it is complete. It holds what was said, also of an encrypted storage: protect it.
    """
    if os.path.lexists(file) and not force:
        raise ConfigurationError(f"{file} exists already: choose another name, or say --force")
    if file.exists() and not file.is_file():
        raise ConfigurationError(f"{file} is no file that could be replaced")
    file = file.resolve()  # of a link, what it leads to
    with storage(url) as manager:
        out = Output(as_json)
        session = naming.session(manager, session_id)
        with out.progress("rows") as progress:
            rows = session.export(file, progress=progress)
        out.document({"id": session_id, "file": str(file), "rows": rows}) if as_json else out.line(
            f"{file}: {rows} rows"
        )


@moving.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export has written.", show_default=False)],
    url: Url = None,
    new_id: Annotated[
        str | None, typer.Option("--as", metavar="ID", help="The id it gets; its own unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a session from a file; say its id. It is there when it has arrived as a whole."""
    if not file.exists():
        raise ConfigurationError(f"{file} cannot be read: there is no such file")
    with storage(url, create=True) as manager:
        out = Output(as_json)
        with out.progress("rows") as progress:
            session = manager.import_(file, session_id=new_id, progress=progress)
        out.document({"id": session.id}) if as_json else out.line(session.id)


@moving.command()
def copy(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The other storage.", show_default=False)],
    url: Url = None,
    sessions: Threads = None,
    store: Annotated[
        bool | None,
        typer.Option("--store/--no-store", help="The items of the store, too; unless given, with all sessions."),
    ] = None,
    plain_here: Annotated[bool, typer.Option("--from-plain", help="The storage here is not encrypted.")] = False,
    plain_there: Annotated[bool, typer.Option("--to-plain", help="The other storage is not encrypted.")] = False,
    verify: Verify = False,
    as_json: Json = False,
) -> None:
    """Copy all sessions to another storage, and the items of the store.

    What is there already stays as it is. A copy that was interrupted goes on when it is begun again.
    """
    if url and _place(url) == _place(target):
        raise ConfigurationError("this would copy a storage onto itself: name another one")
    with_items = not sessions if store is None else store
    with ExitStack() as opened:
        here = opened.enter_context(storage(url, plain=plain_here))
        out = Output(as_json)
        for each in sessions or ():
            naming.session(here, each)
        there = opened.enter_context(storage(target, create=True, plain=plain_there))
        with out.progress("sessions and namespaces") as progress:
            done = here.copy_to(there, sessions or None, store=with_items, progress=progress, verify=verify)
        if as_json:
            out.document(asdict(done))
        else:
            out.line(f"sessions: {done.sessions} copied, {done.sessions_there} were there")
            if with_items:
                out.line(f"namespaces: {done.namespaces} copied, {done.namespaces_there} were there")
            _differ(out, done.differences, verify)
    if done.differences:
        raise typer.Exit(1)


def _place(url: str) -> str:
    """A storage by its place: whatever its URL says of a directory, it is the same one."""
    directory = directory_of(url)
    return url if directory is None else str(Path(directory).resolve())


def _differ(out: Output, differences: Any, verify: bool) -> None:
    for each in differences:
        out.line(str(each), "red")
    if verify and not differences:
        out.line("both sides are the same")


@moving.command()
def migrate(
    url: Url = None,
    source: Annotated[str | None, typer.Option("--from", metavar="URL", help="Bring everything from there.")] = None,
    target: Annotated[str | None, typer.Option("--to", metavar="URL", help="Take everything there.")] = None,
    threads: Annotated[
        list[str] | None, typer.Option("--thread", "-t", metavar="ID", help="Only this one. May be given again.")
    ] = None,
    only: Annotated[
        Literal["threads", "items"] | None, typer.Option("--only", metavar="threads|items", help="Only one of both.")
    ] = None,
    verify: Verify = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on behind a thread that cannot be copied.")
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import", metavar="MODULE", help="Import this first, for types that it defines. May be given again."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring threads and items from another checkpointer and its store, or take them there.

    The other one is SqliteSaver and SqliteStore (sqlite:checkpoints.db), PostgresSaver and PostgresStore
    (postgresql://user@host/db), or RedisSaver and RedisStore (redis-stack://host:6379). What is there already stays as
    it is. A migration that was interrupted goes on when it is begun again.

    Types of your own have to be at hand: they are looked for in the current directory as well, and what --to takes
    along needs their modules to be named by --import.
    """
    from ..migration.opening import NothingThere

    if (source is None) == (target is None):
        raise typer.BadParameter("say --from URL to bring threads here, or --to URL to take them there")
    parts: list[Literal["threads", "items"]] = [only] if only else ["threads", "items"]
    if threads:
        if only == "items":
            raise typer.BadParameter("--thread is for threads, and --only items leaves them out")
        parts = ["threads"]
    _import(modules or ())
    with storage(url, create=source is not None) as manager:
        out = Output(as_json)
        reports: dict[str, Any] = {}
        missing: dict[str, NothingThere] = {}
        for part in parts:
            try:
                reports[part] = _migrated(out, manager, part, source, target, threads, verify, keep_going)
            except NothingThere as exc:
                missing[part] = exc  # a database of a checkpointer alone, or of a store alone
            else:
                if not as_json:  # at once: what comes next may fail
                    _tell(out, part, reports[part], verify)
        if not reports:
            raise missing[parts[0]]
        for kind, absent in missing.items():
            out.note(f"no {kind} were copied: {absent}")
        if as_json:
            out.document({kind: asdict(report) for kind, report in reports.items()})
    if any(report.failed or report.differences for report in reports.values()):
        raise typer.Exit(1)


def _tell(out: Output, part: str, report: Any, verify: bool) -> None:
    one, each = ("thread", "checkpoint") if part == "threads" else ("namespace", "item")
    out.line(
        f"{count(report.seen, one)}: {count(report.copied, each)} copied, {report.present} were there"
        + (f", {report.differing} of them with another value" if report.differing else "")
    )
    for name, why in report.failed.items():
        out.line(f"failed: {name}: {why}", "red")
    _differ(out, report.differences, verify)


def _import(modules: Iterable[str]) -> None:
    """Import modules of the application; as by `python -m`, they are found in the current directory."""
    from ..migration.report import reason

    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, "")
    for name in modules:
        try:
            import_module(name)
        except (Exception, SystemExit) as exc:
            raise typer.BadParameter(f"--import {name} cannot be imported: {reason(exc)}") from exc


def _migrated(
    out: Output,
    manager: SessionManager,
    part: Literal["threads", "items"],
    source: str | None,
    target: str | None,
    threads: list[str] | None,
    verify: bool,
    keep_going: bool,
) -> Any:
    from ..migration import copy_items, copy_threads, open_saver, open_store

    options: Any = {"verify": verify, "keep_going": keep_going}
    with ExitStack() as opened:
        if part == "threads":
            other = opened.enter_context(open_saver(source or target or "", create=target is not None))
            with out.progress("checkpoints") as progress:
                sides = (other, manager.checkpointer) if source is not None else (manager.checkpointer, other)
                return copy_threads(*sides, threads=threads, progress=progress, **options)
        store = opened.enter_context(open_store(source or target or "", create=target is not None))
        with out.progress("items") as progress:
            stores = (store, manager.store) if source is not None else (manager.store, store)
            return copy_items(*stores, progress=progress, **options)
