"""What a worker sees of a whole storage, in the form of `World.shown`; and that it is sound.

Rule: everything is read through the worker's own manager, with all that it remembers, but for the rows themselves.
"""

from __future__ import annotations

from typing import Any

from support.savers import Saver, config
from support.sittings import Form
from support.thread_model import form_of, plain
from whole.world import NAMES, Shown

from langgraph_sessionstore import SESSION_NAMESPACE, Backend, SessionManager, keys, run
from langgraph_sessionstore.ops import Range, must
from langgraph_sessionstore.plans.editing import unpack_step
from langgraph_sessionstore.plans.places import REDO, UNDONE
from langgraph_sessionstore.testing import check_partition, check_registry

REGISTRIES = keys.registry("session"), keys.registry("store")


def look(manager: SessionManager, form: Form) -> Shown:
    """All that is there."""
    infos = form.everything(manager)
    sessions = {name: found for name in NAMES if (found := _session(manager, form, name)) is not None}
    assert sorted(info.id for info in infos) == sorted(sessions)
    for info in infos:
        details = {"title": info.title, "system": info.system, "metadata": dict(info.metadata)}
        assert (info.parent, plain(details)) == (sessions[info.id]["parent"], sessions[info.id]["details"])
    items = _items(form.do(manager.store, "search", (), limit=1000))
    spaces = form.do(manager.store, "list_namespaces", limit=1000)
    assert sorted(spaces) == sorted({namespace for namespace, _ in items})
    return {"sessions": sessions, "items": items}


def _session(manager: SessionManager, form: Form, name: str) -> Shown | None:
    session = form.do(manager, "get_session", name)
    backend, partition = manager.backend, keys.session(name)
    if session is None:
        (rows,) = run(backend, must(partition, Range(b"", None)))
        assert rows == [], f"rows of a session that is not there: {rows}"
        return None
    info = form.do(session, "info")
    undone, redone = run(backend, must(partition, Range(*UNDONE), Range(*REDO)))
    base = SESSION_NAMESPACE, name
    items = _items(form.do(manager.store, "search", base, limit=1000), base)
    assert items == _items(form.do(session.store, "search", (), limit=1000))
    messages = form.do(session, "messages")
    assert len(messages) == form.do(session, "len")
    if messages:
        assert form.do(session, "at", -1) == messages[-1]
    return {
        "parent": info.parent,
        "details": plain({"title": info.title, "system": info.system, "metadata": dict(info.metadata)}),
        "summary": form.do(session, "summary"),
        "messages": plain(messages),
        "source": "log" if "(log)" in form.do(session, "status") else "graph",
        "thread": [form_of(found) for found in Saver(manager.checkpointer, form.loop).list(config(name, None))],
        "undo": [unpack_step(value, name).label for _, value in undone],
        "redo": [unpack_step(value, name).label for _, value in reversed(redone)],
        "usage": form.do(session, "metrics").by_phase,
        "last": form.do(session, "last_usage"),
        "items": items,
    }


def _items(found: Any, base: tuple[str, ...] = ()) -> Any:
    items = {(item.namespace[len(base) :], item.key): plain(item.value) for item in found}
    assert len(items) == len(found)
    return items


def problems(manager: SessionManager, name: str, waste: bool) -> list[str]:
    """What is wrong with the rows of a session; `waste` may be left, and takes only space."""
    found = [each for each in manager.checkpointer.check(name) if not (waste and each.kind == "unreferenced")]
    return [*map(str, found), *run(manager.backend, check_partition(keys.session(name)))]


def damage(backend: Backend) -> list[str]:
    """What is wrong with the lists."""
    return [each for registry in REGISTRIES for each in run(backend, check_registry(registry))]
