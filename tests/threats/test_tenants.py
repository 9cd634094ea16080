"""Threat: one tenant reads, changes or deletes what is another's, on one storage that both share.

Whoever is let in here is a tenant who may choose ids, namespaces, filters, keys and queries that begin with their own
name; whatever they ask, nothing of the other comes back, and nothing of it changes.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from langgraph.store.base import InvalidNamespaceError
from sessions.test_store_isolation import FIELDS, WORDS
from support import raw
from support.everywhere import everywhere
from support.lifetimes import Look
from support.meanings import index
from support.savers import Saver, checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import SESSION_NAMESPACE, SessionManager, SessionStoreError

SECRET = "SECRET-OF-B"
NAMES = ["ann", "ann%", "ann*", "ann_", "an?", "ann:", "ann' OR '1'='1", "ann\0", "ann\r\nKEYS *", "ann}|{", "anna"[:3]]


def inhabit(manager: SessionManager, form: Form, tenant: str, secret: str) -> None:
    do, saver = form.do, Saver(manager.checkpointer, form.loop)
    session = do(manager, "create_session", f"{tenant}/1", metadata={"owner": tenant, "s": secret}, title=secret)
    do(session, "append", "user", secret)
    do(session.store, "put", ("notes",), "k", {"text": secret})
    where = saver.put(
        config(f"{tenant}/2"), checkpoint({"v": secret}), {"source": "input", "owner": tenant, "s": secret}
    )
    saver.put_writes(where, [("v", secret)], "task")
    do(manager.store, "put", ("users", tenant), "k", {"text": secret, "owner": tenant})
    do(manager.cache, "set", {(("users", tenant), "k"): (secret, None)})


def others(rows: raw.Rows) -> Any:
    return {name: sorted(part) for name, part in rows.items() if any(SECRET.encode() in row for row in part)}


@everywhere
def test_nothing_of_another_tenant_is_reached(manager: SessionManager, form: Form, look: Look) -> None:
    manager = SessionManager(manager.backend, index=index())
    for tenant in ("annabel", "ann-b", "b", "bann"):
        inhabit(manager, form, tenant, SECRET)
    inhabit(manager, form, "ann", "of ann")
    before, do, saver = others(look()), form.do, Saver(manager.checkpointer, form.loop)
    assert before
    store, found = manager.store, list[Any]()

    def ask(subject: Any, name: str, *args: Any, **options: Any) -> None:
        try:
            found.append(do(subject, name, *args, **options))
        except (InvalidNamespaceError, SessionStoreError) as exc:
            found.append(str(exc))

    for name in NAMES:
        for id_ in (name, f"{name}/1", f"{name}/2"):
            if id_ in ("ann/1", "ann/2"):
                continue
            ask(manager, "get_session", id_)
            ask(manager, "delete_session", id_)
            found += [saver.get(config(id_)), saver.list(config(id_))]
            saver.delete_thread(id_)
            ask(manager.data, "search", ("memory", id_))
            ask(store, "search", (SESSION_NAMESPACE, id_))
        ask(store, "search", ("users", name), limit=100)
        ask(store, "search", ("users", name), query=SECRET, limit=100)
        ask(store, "get", ("users", name), "*")
        ask(store, "delete", ("users", name), "*")
        ask(store, "list_namespaces", prefix=("users", name))
        ask(manager.cache, "get", [(("users", name), key) for key in ("k", "*")])
        ask(manager.cache, "clear", [("users", name)])
        found.append(saver.list(None, filter={"owner": name}))
        saver.delete_for_runs([name])
        ask(manager, "delete_sessions", filter={"owner": name, "s": "x"})
    for field, word in product(FIELDS[::3], WORDS[::5]):
        ask(store, "search", ("users", "ann"), filter={field: word}, limit=100)
        ask(manager, "list_sessions", filter={"owner": "ann", field: word})
        found.append(saver.list(config("ann/2"), filter={field: word}))
    assert SECRET not in repr(found)
    assert "of ann" in repr(found)
    assert others(look()) == before
