"""Commands that look into the state of a graph: state, diff."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from langgraph.checkpoint.base import CheckpointTuple

from ..errors import SessionError
from ..manager import SessionManager
from . import naming
from .differences import differences
from .opening import Content, Json, SessionId, Url, storage
from .output import Output
from .viewing import Viewer, described, plain

states = typer.Typer()
Namespace = Annotated[
    str,
    typer.Option("--ns", metavar="NAMESPACE", help="The namespace of a subgraph's checkpoints.", show_default=False),
]


@states.command()
def state(
    session_id: SessionId,
    url: Url = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", metavar="ID", help="The beginning of its id; the newest unless given."),
    ] = None,
    ns: Namespace = "",
    content: Content = False,
    as_json: Json = False,
) -> None:
    """Show the state of a graph at a checkpoint: its channels, and what is pending. Their values with --content."""
    with storage(url, serde=Viewer()) as manager:
        out = Output(as_json)
        naming.session(manager, session_id)
        found = _named(manager, session_id, ns, checkpoint)
        channels = found.checkpoint["channel_values"]
        pending = [
            {"task": task, "channel": channel, "what": described(value)} | ({"value": value} if content else {})
            for task, channel, value in found.pending_writes or ()
        ]
        parent = found.parent_config and found.parent_config["configurable"]["checkpoint_id"]
        if as_json:
            values = {
                name: {"what": described(value)} | ({"value": value} if content else {})
                for name, value in channels.items()
            }
            about = {"checkpoint_id": found.checkpoint["id"], "checkpoint_ns": ns, "parent_checkpoint_id": parent}
            about |= {"ts": found.checkpoint["ts"], "metadata": found.metadata}
            out.document(plain(about | {"channels": values, "pending": pending}))
            return
        out.facts(
            [
                ("checkpoint", found.checkpoint["id"]),
                ("parent", parent),
                ("time", found.checkpoint["ts"]),
                ("step", found.metadata.get("step")),
                ("source", found.metadata.get("source")),
            ]
        )
        out.heading("channels")
        out.table(("channel", "value"), [(name, described(value)) for name, value in channels.items()])
        if pending:
            out.heading("pending")
            out.table(("task", "channel", "value"), [(each["task"], each["channel"], each["what"]) for each in pending])
        if content:
            for name, value in channels.items():
                out.heading(name)
                out.block(_pretty(value))
            for each in pending:
                out.heading(f"pending {each['channel']} of task {each['task']}")
                out.block(_pretty(each["value"]))


@states.command()
def diff(
    session_id: SessionId,
    before: Annotated[str | None, typer.Argument(metavar="A", help="A checkpoint; unless given, B's parent.")] = None,
    after: Annotated[str | None, typer.Argument(metavar="B", help="Another; unless given, the newest.")] = None,
    url: Url = None,
    ns: Namespace = "",
    content: Content = False,
    as_json: Json = False,
) -> None:
    """Show what has changed in a graph's state from one checkpoint to another. The values with --content."""
    with storage(url, serde=Viewer()) as manager:
        out = Output(as_json)
        naming.session(manager, session_id)
        new = _named(manager, session_id, ns, after)
        parent = new.parent_config["configurable"]["checkpoint_id"] if new.parent_config else None
        old: CheckpointTuple | None
        if before is not None:
            old = _named(manager, session_id, ns, before)
        else:  # the parent may have been pruned, and then all is new
            old = _tuple(manager, session_id, ns, parent) if parent else None
        name = old.checkpoint["id"] if old else None
        changes = list(differences(old.checkpoint["channel_values"] if old else {}, new.checkpoint["channel_values"]))
        if as_json:
            shown = [
                {"channel": each.channel, "change": each.kind, "what": each.what}
                | ({"before": each.before, "after": each.after} if content else {})
                for each in changes
            ]
            out.document(plain({"before": name, "after": new.checkpoint["id"], "changes": shown}))
            return
        out.note(f"from {name or 'nothing'} to {new.checkpoint['id']}", "dim")
        if not changes:
            out.note("no difference", "dim")
        for each in changes:
            out.line(f"{_SIGNS[each.kind]} {each.channel}: {each.what}", _STYLES[each.kind])
            if content:
                for sign, value, there in (
                    ("-", each.before, each.kind != "added"),
                    ("+", each.after, each.kind != "removed"),
                ):
                    if there:
                        out.block("\n".join(f"{sign} {line}" for line in _pretty(value).split("\n")))


_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_STYLES = {"added": "green", "removed": "red", "changed": "yellow"}


def _named(manager: SessionManager, session_id: str, ns: str, given: str | None) -> CheckpointTuple:
    """The checkpoint that begins like this, or the newest."""
    checkpoint_id = None if given is None else naming.checkpoint(manager, session_id, ns, given)
    found = _tuple(manager, session_id, ns, checkpoint_id)
    if found is None:
        which = f" {given!r} any more" if given else ""
        raise SessionError(f"{naming.place(session_id, ns)} has no checkpoint{which}")
    return found


def _tuple(manager: SessionManager, session_id: str, ns: str, checkpoint_id: str | None) -> CheckpointTuple | None:
    configurable = {"thread_id": session_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
    return manager.checkpointer.get_tuple({"configurable": configurable})


def _pretty(value: Any) -> str:
    return json.dumps(plain(value), indent=2, ensure_ascii=False)
