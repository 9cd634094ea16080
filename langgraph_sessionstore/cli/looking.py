"""Commands that look at sessions and change nothing: ls, show."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from ..info import SessionInfo, SessionPage
from ..manager import SessionManager
from ..ops import Plan
from ..plans import contents
from ..plans.details import unpack_summary
from ..session import Session
from . import naming
from .opening import Content, Filter, Json, SessionId, Url, storage
from .output import Output
from .parsing import ago, conditions
from .tree import drawn, grown
from .viewing import Viewer, described, plain, told

looking = typer.Typer()


@looking.command()
def ls(
    url: Url = None,
    filter: Filter = None,
    sort: Annotated[
        Literal["updated", "created"],
        typer.Option("--sort", metavar="updated|created", help="By last use, or by creation."),
    ] = "updated",
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help="So many on a page.")] = 50,
    cursor: Annotated[
        str | None,
        typer.Option("--cursor", metavar="CURSOR", help="Where the page begins, as the page before has said."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All pages.")] = False,
    counted: Annotated[bool, typer.Option("--count", help="Only how many there are.")] = False,
    as_json: Json = False,
) -> None:
    """List sessions, a page at a time: the one used last comes first."""
    wanted = conditions(filter or ())
    with storage(url) as manager:
        out = Output(as_json)
        if counted:
            total = manager.count_sessions(filter=wanted)
            out.document({"count": total}) if as_json else out.line(str(total))
            return
        pages = _pages(manager, sort, not oldest, wanted, limit, cursor, everything)
        more: str | None = None

        def rows() -> Iterator[SessionInfo]:
            nonlocal more
            for page in pages:
                more = page.cursor
                yield from page

        if as_json:
            out.documents("sessions", map(known, rows()), lambda: {"cursor": more})
            return
        columns, header = ("id", "title", "used", "created"), True
        for page in pages:
            more = page.cursor
            if page:
                out.table(columns, [_row(info, out.people) for info in page], header=header)
                header = False
        if more is not None:
            out.note(f"more: --cursor {more}", "dim")
        elif header and cursor is None:
            out.note("no sessions" + (" with this metadata" if wanted else ""), "dim")


def _pages(
    manager: SessionManager,
    sort: Literal["updated", "created"],
    descending: bool,
    wanted: dict[str, Any],
    limit: int,
    cursor: str | None,
    everything: bool,
) -> Iterator[SessionPage]:
    while True:
        page = manager.list_sessions(by=sort, descending=descending, filter=wanted, limit=limit, cursor=cursor)
        yield page
        cursor = page.cursor
        if cursor is None or not (everything or (wanted and not page)):
            return


def known(info: SessionInfo, content: bool = False) -> dict[str, Any]:
    """What is known of a session, as JSON holds it; its system prompt is content."""
    fields = {**vars(info), "metadata": plain(info.metadata)}  # ids and texts exactly as they are
    if info.system is not None and not content:
        fields["system"] = described(info.system)
    return fields


def _row(info: SessionInfo, people: bool) -> tuple[str, ...]:
    times = (info.updated_at, info.created_at)
    return info.id, info.title or "", *(map(ago, times) if people else times)


@looking.command()
def show(
    session_id: SessionId,
    url: Url = None,
    content: Content = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=0, help="The last so many checkpoints (0: all).")
    ] = 30,
    as_json: Json = False,
) -> None:
    """Show a session: what is known of it, its messages, summary and usage, its checkpoints as a tree with forks.

    What was said is shown with --content.
    """
    with storage(url, serde=Viewer()) as manager:
        out = Output(as_json)
        session = naming.session(manager, session_id)
        info, metrics = session.info, session.metrics
        channel, messages, summary = session._run(_contents(session))
        kept = naming.checkpoints(manager, session_id, limit + 1 if limit else sys.maxsize)
        checkpoints = kept[:limit] if limit else kept
        roles = dict(Counter(message.type for message in messages))
        if as_json:
            document = {
                **known(info, content),
                "messages": {
                    "count": len(messages),
                    "by_role": roles,
                    "in": "log" if channel is None else f"graph, channel {channel}",
                    **({"content": messages} if content else {}),
                },
                "summary": summary if content or summary is None else described(summary),
                "usage": {"calls": metrics.total_calls, "tokens": metrics.total_tokens, "cost": metrics.total_cost},
                "checkpoints": checkpoints,
                "older_checkpoints": len(kept) > len(checkpoints),
            }
            out.document(plain(document))
            return
        said = ", ".join(f"{number} {role}" for role, number in roles.items())
        where = "log" if channel is None else f"graph, channel {channel}"
        out.facts(
            [
                ("session", info.id),
                ("title", info.title),
                ("created", f"{info.created_at} ({ago(info.created_at)})"),
                ("used", f"{info.updated_at} ({ago(info.updated_at)})"),
                ("expires", info.expires_at and f"{info.expires_at} ({ago(info.expires_at)})"),
                ("fork of", info.parent),
                *(
                    (f"  {name}" if out.people else f"metadata.{name}", plain(value))
                    for name, value in info.metadata.items()
                ),
                ("system", info.system and described(info.system)),
                ("summary", summary and described(summary)),
                ("messages", f"{len(messages)}{f' ({said})' if said else ''}, in the {where}"),
                ("usage", metrics.summary() if metrics.total_calls else None),
                ("checkpoints", _counted(checkpoints, len(kept) > len(checkpoints))),
            ]
        )
        if content:
            for name, text in (("system", info.system), ("summary", summary)):
                if text:
                    out.heading(name)
                    out.block(text)
            if messages:
                out.heading("messages")
                for number, message in enumerate(map(plain, messages)):
                    out.line(" ".join([str(number), message["type"], *message.get("class", "").split()]))
                    out.block(told(message))
        _show_tree(out, checkpoints)


def _contents(session: Session) -> Plan[tuple[str | None, list[Any], str | None]]:
    desk = session._desk
    found = yield from contents.read(desk)
    summary = unpack_summary(found.summary, session.id)
    return found.channel, contents.messages(desk, found), summary.text if summary else None


def _counted(checkpoints: list[dict[str, Any]], more: bool) -> str | None:
    if not checkpoints:
        return None
    namespaces = len({each["checkpoint_ns"] for each in checkpoints})
    some = f"the last {len(checkpoints)}" if more else f"{len(checkpoints)}"
    return some + (f", in {namespaces} namespaces" if namespaces > 1 else "")


def _show_tree(out: Output, checkpoints: list[dict[str, Any]]) -> None:
    for ns in sorted({each["checkpoint_ns"] for each in checkpoints}):
        out.heading(f"namespace {ns}" if ns else "checkpoints, the oldest first")
        for front, each in drawn(grown([each for each in checkpoints if each["checkpoint_ns"] == ns])):
            metadata = each["metadata"]
            out.line(
                f"{front}{each['checkpoint_id']}  {each['ts'] or ''}  "
                f"step {metadata.get('step', '?')}  {metadata.get('source', '')}".rstrip()
            )
