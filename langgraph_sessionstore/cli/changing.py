"""Commands that change or delete sessions: rm, fork, undo, redo, rewind, prune."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from ..errors import DataError, SessionDeleted, SessionNotFound
from ..info import SessionInfo
from ..manager import SessionManager
from ..session import Session
from . import naming
from .looking import known
from .opening import Filter, Json, SessionId, Url, Yes, ask, storage
from .output import Output
from .parsing import age, ago, conditions, count, moment_of
from .viewing import Viewer

changing = typer.Typer()
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Sessions.", show_default=False)]
OlderThan = Annotated[
    Any,
    typer.Option(
        "--older-than", parser=age, metavar="AGE", help="30d, 12h, 15m, 90s, 2w; or since a date: 2026-01-31."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@changing.command()
def rm(
    ids: Ids = None,
    url: Url = None,
    older_than: OlderThan = None,
    filter: Filter = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete sessions with everything that belongs to them: by their ids, their age or their metadata.

    Old are those that were last used so long ago.
    """
    wanted = conditions(filter or ())
    if bool(ids) == bool(older_than is not None or wanted):
        raise typer.BadParameter("name sessions, or say --older-than or --filter")
    with storage(url) as manager:
        out = Output(as_json)
        if ids:
            sessions = [naming.session(manager, each) for each in dict.fromkeys(ids)]  # all of them, or none
            infos = [session.info for session in sessions]
        else:
            infos = []
        found = iter(infos) if ids else _old(manager, wanted, older_than)
        if dry_run:
            if as_json:
                out.documents("would_delete", map(known, found), dict)
            else:
                out.table(
                    ("id", "title", "used"), [(info.id, info.title or "", ago(info.updated_at)) for info in found]
                )
            return
        if ids:
            ask(f"Delete {_these(infos)}, with everything that belongs to {'it' if len(infos) == 1 else 'them'}?", yes)
            deleted = sum(session.delete() for session in sessions)
        else:
            if not yes:
                number = sum(1 for _ in found)
                if number:
                    ask(f"Delete {count(number, 'session')}, with everything that belongs to them?", yes)
            deleted = manager.delete_sessions(filter=wanted, older_than=older_than)
        out.document({"deleted": deleted}) if as_json else out.line(f"deleted: {deleted}")


def _these(infos: list[SessionInfo]) -> str:
    if len(infos) > 3:
        return count(len(infos), "session")
    return ", ".join(f"{info.id!r}" + (f" ({info.title})" if info.title else "") for info in infos)


def _old(
    manager: SessionManager, wanted: dict[str, Any], older_than: timedelta | datetime | None
) -> Iterator[SessionInfo]:
    """Those that `delete_sessions` would delete now, the oldest first."""
    until = None if older_than is None else moment_of(older_than)
    for info in manager.iter_sessions(by="updated", filter=wanted):
        if until is not None and datetime.fromisoformat(info.updated_at) > until:
            return
        yield info


@changing.command()
def fork(
    session_id: SessionId,
    new_id: Annotated[
        str | None, typer.Argument(metavar="NEW", help="The id of the fork; a new one unless given.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make an independent session with everything that this one holds; say its id."""
    with storage(url) as manager:
        out = Output(as_json)
        made = naming.session(manager, session_id).fork(new_id)
        out.document({"id": made.id, "parent": session_id}) if as_json else out.line(made.id)


@changing.command()
def undo(session_id: SessionId, url: Url = None, as_json: Json = False) -> None:
    """Take back the newest operation on messages, summary or details."""
    with storage(url) as manager:
        _restored(as_json, naming.session(manager, session_id).undo())


@changing.command()
def redo(session_id: SessionId, url: Url = None, as_json: Json = False) -> None:
    """Do again what was undone last."""
    with storage(url) as manager:
        _restored(as_json, naming.session(manager, session_id).redo())


@changing.command()
def rewind(
    session_id: SessionId,
    url: Url = None,
    turns: Annotated[int | None, typer.Option("--turns", "-t", metavar="N", min=1, help="So many turns back.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="CHECKPOINT", help="Back to this one: the beginning of its id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take messages and graph back: by turns, or to a checkpoint. Nothing is deleted, and undo takes it back."""
    if (turns is None) == (to is None):
        raise typer.BadParameter("say --turns 1, or --to CHECKPOINT")
    with storage(url) as manager:
        session = naming.session(manager, session_id)
        checkpoint_id = None if to is None else naming.checkpoint(manager, session_id, "", to)
        _restored(as_json, session.rewind(turns, checkpoint_id=checkpoint_id))


def _restored(as_json: bool, said: str) -> None:
    out = Output(as_json)
    out.document({"restored": said.removeprefix("Restored: ")}) if as_json else out.line(said)


@changing.command()
def prune(
    ids: Ids = None,
    url: Url = None,
    everything: Annotated[bool, typer.Option("--all", help="All sessions.")] = False,
    keep_latest: Annotated[
        bool, typer.Option("--keep-latest", help="Delete all but the newest of each namespace.")
    ] = False,
    older_than: OlderThan = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete checkpoints of graphs: all but the newest, or those that are old.

    The newest checkpoint of each namespace stays with all that it needs, so that graphs go on and interrupts are still
    answered. Messages, summaries and everything else of the sessions stay as well.
    """
    if bool(ids) == everything:
        raise typer.BadParameter("name sessions, or say --all")
    if keep_latest == (older_than is not None):
        raise typer.BadParameter("say --keep-latest or --older-than")
    with storage(url, serde=Viewer()) as manager:
        out = Output(as_json)
        named = [naming.session(manager, each) for each in dict.fromkeys(ids or ())]
        total = len(named) if ids else manager.count_sessions()
        ask(f"Delete checkpoints of {count(total, 'session')}?", yes)
        deleted = done = touched = 0
        failed: dict[str, str] = {}
        with out.progress("sessions") as progress:
            for session in named if ids else _all(manager):
                try:
                    gone = session.prune_checkpoints(older_than=older_than)
                except (SessionNotFound, SessionDeleted):  # meanwhile
                    gone = 0
                except DataError as exc:  # is no reason to leave the others
                    gone, failed[session.id] = 0, str(exc)
                deleted, touched, done = deleted + gone, touched + bool(gone), done + 1
                progress(done, max(done, total))
        if as_json:
            out.document({"deleted": deleted, "sessions": touched, "failed": failed})
        else:
            out.line(f"deleted: {count(deleted, 'checkpoint')} of {count(touched, 'session')}")
            for name, why in failed.items():
                out.line(f"failed: {name}: {why}", "red")
    if failed:
        raise typer.Exit(1)


def _all(manager: SessionManager) -> Iterator[Session]:
    for info in manager.iter_sessions():
        session = manager.get_session(info.id)
        if session is not None:
            yield session
