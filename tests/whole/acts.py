"""Everything that can be done to a storage: what a worker does, and what that does to the model.

Rule: an act is made before it is done, from numbers and from what is known then. So another act may come in between.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.base.id import uuid6
from support.savers import checkpoint, config
from support.sittings import Form
from support.thread_model import ThreadModel, change_files, form_of
from whole.model import CHANNEL, SessionModel, Sheet
from whole.workers import Live, Worker
from whole.world import NAMES, SUB, World

from langgraph_sessionstore import SESSION_NAMESPACE, Session, Usage

Numbers = tuple[int, int, int]
_counter = itertools.count()
WORDS = "a message that is long enough to be shared by the checkpoints that have it, "


class Act(NamedTuple):
    """One operation of a worker."""

    name: str
    real: Callable[[Form], Any]
    parts: tuple[Callable[[World], Any], ...]
    """What it does to a world, in steps that others may come between; the last one gives the result."""
    optimistic: bool = False
    """Whether it may end in a `ConflictError` when somebody else comes between."""
    apart: tuple[Callable[[World], Any], ...] = ()
    """The same in steps that others may come between, but no cut."""


def message(kind: int) -> BaseMessage:
    """A message that is like no other."""
    number = next(_counter)
    text = f"{number}: {WORDS * (kind % 3)}"
    return AIMessage(text, id=f"a{number}") if kind % 2 else HumanMessage(text, id=f"h{number}")


def quietly(answer: Any) -> None:
    """What this act answers is of no interest."""


def several(count: int, kind: int) -> list[BaseMessage]:
    return [message(kind + more) for more in range(count)]


class Acts:
    """Makes acts on the world as it is now; None: there is nothing that this one could be done to."""

    def __init__(self, file: Path) -> None:
        self.world = World()
        self.file = file
        self.exported: list[tuple[Any, SessionModel]] = []
        self.runs = 0

    def make(self, kind: str, worker: Worker, form: Form, which: int, numbers: Numbers) -> Act | None:
        name = NAMES[which]
        if kind in EDITS:
            return self._edit(kind, worker, form, name, *numbers)
        made: Act | None = getattr(self, f"_{kind}")(worker, form, name, *numbers)
        return made

    def _handle(self, worker: Worker, form: Form, name: str, old: int = 0) -> tuple[Session, int] | None:
        """A handle of a session, and the life that it means; perhaps the one that this worker got last."""
        if not (old % 2 and name in worker.handles):
            found, model = form.do(worker.manager, "get_session", name), self.world.sessions.get(name)
            assert (found is None) == (model is None)
            if found is not None and model is not None:
                worker.handles[name] = found, model.life
        return worker.handles.get(name)

    def _simple(
        self, kind: str, worker: Worker, form: Form, name: str, old: int, model: Callable[[SessionModel], Any]
    ) -> Act | None:
        """An act of a handle."""
        if (handle := self._handle(worker, form, name, old)) is None:
            return None
        session, life = handle
        return Act(
            f"{kind} {name}", lambda form: form.do(session, kind), (lambda world: model(world.at(name, life)),), True
        )

    # -- sessions

    def _create(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        new, summary = several(a % 3, b), f"summary {c}" if c % 3 == 0 else None
        details: dict[str, Any] = {"title": f"t{a}", "system": f"s{b}" if b % 2 else None, "metadata": {"k": c % 2}}
        exist_ok = c % 5 == 0
        options: dict[str, Any] = {"messages": new, "summary": summary, "exist_ok": exist_ok, **details}
        return Act(
            f"create {name}",
            lambda form: quietly(form.do(worker.manager, "create_session", name, **options)),
            (lambda world: world.create(name, new, summary, details, exist_ok),),
        )

    def _delete(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if a % 2:
            real = lambda form: form.do(worker.manager, "delete_session", name)  # noqa: E731
            return Act(f"delete {name}", real, (lambda world: world.delete(name),))
        if (handle := self._handle(worker, form, name, b)) is None:
            return None
        session, life = handle
        real = lambda form: form.do(session, "delete")  # noqa: E731
        return Act(f"delete handle of {name}", real, (lambda world: world.delete(name, life),))

    def _fork(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if (handle := self._handle(worker, form, name, b)) is None:
            return None
        (session, life), new = handle, _other(name, a)
        return Act(
            f"fork {name} to {new}",
            lambda form: quietly(form.do(session, "fork", new)),
            (lambda world: world.fork(name, life, new),),
        )

    def _export(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if name not in self.world.sessions or (handle := self._handle(worker, form, name)) is None:
            return None
        exported = self.world.sessions[name].copy(0)

        def real(form: Form) -> None:
            if a % 2:
                self.exported.append((json.loads(json.dumps(form.do(handle[0], "to_dict"))), exported))
            else:
                file = self.file.with_name(f"{next(_counter)}.jsonl")
                form.do(handle[0], "export", file)
                self.exported.append((file, exported))

        return Act(f"export {name}", real, (lambda world: None,))

    def _arrive(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if not self.exported:
            return None
        data, exported = self.exported[a % len(self.exported)]
        method = "import_" if isinstance(data, Path) else "from_dict"
        return Act(
            f"import to {name}",
            lambda form: quietly(form.do(worker.manager, method, data, session_id=name)),
            (lambda world: world.arrive(name, exported),),
        )

    # -- messages, summary, details

    def _edit(self, kind: str, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if (handle := self._handle(worker, form, name, c)) is None:
            return None
        (session, life), changes = handle, [self._change(kind, name, a, b)]
        if kind == "transaction":
            changes = [
                self._change(TRANSACTED[(a + n * c) % len(TRANSACTED)], name, b + n, a) for n in range(b % 3 + 1)
            ]

        def model(sheet: Sheet) -> None:
            for method, given, options in changes:
                getattr(sheet, method)(*given, **options)

        def real(form: Form) -> None:
            method, given, options = changes[0]
            if kind != "transaction":
                form.do(session, method, *given, **options)
                return
            transaction = session.transaction()
            draft = form.enter(transaction)
            try:
                for method, given, options in changes:
                    if method == "update":
                        for field, value in options.items():
                            setattr(draft, field, value)
                    else:
                        getattr(draft, method)(*given)
            except Exception as error:
                form.leave(transaction, error)
                raise
            form.leave(transaction)

        return Act(f"{kind} {name}", real, (lambda world: world.edit(name, life, model),), kind == "transaction")

    def _change(self, kind: str, name: str, a: int, b: int) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """A method of a sheet, and what it is given."""
        if kind in ("insert", "replace"):
            return kind, (a % 7 - 3, message(b)), {}
        if kind == "remove":
            return kind, (a % 7 - 3,), {}
        if kind == "prune":
            return kind, (a % 3,), {}
        if kind == "truncate":
            return kind, (a % 3, b % 4), {}
        if kind == "set_messages":
            session = self.world.sessions.get(name)
            kept = list(session.messages) if session else []
            return kind, ([*kept[a % 3 :][:: -1 if b % 4 == 0 else 1], *several(b % 3, a)],), {}
        if kind == "set_summary":
            return kind, (f"summary {a}" if a % 4 else None,), {}
        if kind == "update":
            new = {"title": f"title {a}", "metadata": {"k": b % 2, "more": [a]}, "system": None}
            return kind, (), dict(list(new.items())[: b % 3 + 1])
        if kind == "clear":
            return kind, (), {}
        return ("append", (message(a),), {}) if kind != "extend" else (kind, (several(a % 3 + 1, b),), {})

    def _say(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        """An append to whichever session there is."""
        new = message(a)
        memory = worker.manager.memory()
        return Act(
            f"say to {name}",
            lambda form: form.do(memory, "append", name, new),
            (lambda world: world.edit(name, None, lambda sheet: sheet.append(new)),),
        )

    def _purge(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if (handle := self._handle(worker, form, name, c)) is None:
            return None
        session, life = handle

        def pruned(world: World) -> None:
            if name in world.sessions and world.sessions[name].life == life and world.sessions[name].graph:
                world.prune(name)

        return Act(
            f"purge {name}",
            lambda form: form.do(session, "clear", purge=True),
            (lambda world: world.at(name, life).purge(), pruned),
            apart=(
                lambda world: world.at(name, life).forget_log(),
                lambda world: world.at(name, life).forget_rest(),
                pruned,
            ),
        )

    def _undo(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        return self._simple("undo", worker, form, name, c, SessionModel.undo)

    def _redo(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        return self._simple("redo", worker, form, name, c, SessionModel.redo)

    def _rewind(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if (handle := self._handle(worker, form, name, c)) is None:
            return None
        (session, life), model = handle, self.world.sessions.get(name)
        names = [known[0] for known in model.thread.names("")] if model else []
        target = names[a % len(names)] if names and a % 7 else "none"
        return Act(
            f"rewind {name}",
            lambda form: form.do(session, "rewind", checkpoint_id=target),
            (lambda world: world.at(name, life).rewind_to(target),),
            True,
        )

    # -- threads

    def _put(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        """Go on with a thread: on its newest checkpoint, on another, on none; with what is in the hands, or read."""
        ns, session = SUB if a % 5 == 0 else "", self.world.sessions.get(name)
        thread = session.thread if session else ThreadModel()
        names, live = thread.names(ns), worker.live.get((name, ns))
        parent = names[b % len(names) if b % 4 == 0 else 0] if names and b % 11 else None
        saver, new = worker.saver(form), f"{uuid6(clock_seq=-1)}"
        values: dict[str, Any] = {}
        versions: dict[str, Any] = {}
        if parent and live and c % 3 and live.parent == parent[0]:
            values, versions = live.values, dict(live.versions)
        elif parent:
            found: Any = saver.load(config(name, ns, parent[0]))
            assert form_of(found) == thread.form(parent)
            values, versions = found.checkpoint["channel_values"], dict(found.checkpoint["channel_versions"])
        changed = _work(values, a, b, c)
        for channel in changed:
            versions[channel] = saver.checkpointer.get_next_version(versions.get(channel), None)
        step = thread.known[parent].metadata["step"] + 1 if parent else 0
        source = ("loop", "input", "update")[c % 3]
        metadata: dict[str, Any] = {"source": source, "step": step, "parents": {}, "run_id": f"run {self.runs}"}
        given = checkpoint(dict(values), versions, id=new)
        held = ns == "" and CHANNEL in changed and bool(values[CHANNEL])
        kept = thread.copy()
        kept.put((new, ns), values, versions, metadata, parent and parent[0])
        known = kept.known[new, ns]

        def real(form: Form) -> None:
            where = config(name, ns, parent and parent[0])
            worker.live.pop((name, ns), None)
            worker.saver(form).put(where, given, metadata, {channel: versions[channel] for channel in changed})
            worker.live[name, ns] = Live(new, values, versions)

        return Act(f"put {name} {ns}", real, (lambda world: world.put(name, (new, ns), *known, held),))

    def _write(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        model = self.world.sessions.get(name)
        names = model.thread.names() if model else []
        at, ns = names[b % len(names)] if names else (str(uuid6(clock_seq=-1)), "")
        special = ("__error__", "__interrupt__", "__resume__")
        writes = [(special[n % 3] if n % 4 == 3 else f"channel {n % 2}", {"n": [n]}) for n in (a, b, c)[: a % 3 + 1]]
        given = writes, f"task {c % 3}", f"path {b % 2}"
        return Act(
            f"write {name} {ns}",
            lambda form: worker.saver(form).put_writes(config(name, ns, at), *given),
            (lambda world: world.write(name, (at, ns), *given),),
        )

    def _delete_thread(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        real = partial(_prune_to_nothing if a % 2 else _delete_thread, worker, name)
        parts = (lambda world: world.delete_thread(name), lambda world: world.end_if_empty(name))
        return Act(f"delete thread {name}", real, parts)

    def _prune_thread(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        real = lambda form: worker.saver(form).prune([name])  # noqa: E731
        parts = [partial(step, name=name) for step in (World.prune, World.end_graph, World.end_if_empty)]
        return Act(f"prune thread {name}", real, tuple(parts))

    def _collect(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        real = lambda form: quietly(worker.saver(form).collect(name))  # noqa: E731
        return Act(f"collect {name}", real, (lambda world: None,))

    def _delete_runs(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        """A run that is over, in all threads."""
        over, self.runs = f"run {max(0, self.runs - a % 2)}", self.runs + 1
        parts: list[Callable[[World], Any]] = []
        for each in NAMES:
            parts.append(partial(World.delete_run, name=each, run=over))
            parts += [partial(step, name=each) for step in (World.end_graph, World.end_if_empty)]
        return Act(f"delete {over}", lambda form: worker.saver(form).delete_for_runs([over]), tuple(parts))

    def _copy_thread(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        new = _other(name, a)
        real = lambda form: worker.saver(form).copy_thread(name, new)  # noqa: E731
        return Act(f"copy thread {name} to {new}", real, (lambda world: world.copy_thread(name, new),))

    # -- usage, items

    def _record(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        if (handle := self._handle(worker, form, name, c)) is None:
            return None
        (session, life), phase, used = handle, f"phase {b % 2}", Usage(1, a, b)
        return Act(
            f"record {name}",
            lambda form: form.do(session, "record_usage", phase, "m", input_tokens=a, output_tokens=b),
            (lambda world: world.record(name, life, phase, used),),
        )

    def _item(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act | None:
        """Put or delete an item: of the store, of a session by its name, or through its handle."""
        rest: tuple[str, ...] = (("notes",), ("notes", "deep"), ("n",))[a % 3]
        key, value = f"k{b % 2}", {"n": next(_counter)} if b % 3 else None
        what = ("put", rest, key, value) if value else ("delete", rest, key)
        if c % 3 == 0:
            return Act(
                "item",
                lambda form: form.do(worker.manager.store, *what),
                (lambda world: world.put_item(rest, key, value),),
            )
        if c % 3 == 1:
            own = (what[0], (SESSION_NAMESPACE, name, *rest), *what[2:])
            real = lambda form: form.do(worker.manager.store, *own)  # noqa: E731
            return Act(f"item of {name}", real, (lambda world: world.put_session_item(name, None, rest, key, value),))
        if (handle := self._handle(worker, form, name, c // 3)) is None:
            return None
        session, life = handle
        real = lambda form: form.do(session.store, *what)  # noqa: E731
        return Act(f"own item of {name}", real, (lambda world: world.put_session_item(name, life, rest, key, value),))


EDITS = (
    "append", "append", "extend", "insert", "replace", "remove", "prune", "truncate", "set_messages", "clear",
    "set_summary", "update", "transaction", "transaction",
)  # fmt: skip
TRANSACTED = ("append", "append", "extend", "insert", "remove", "set_summary", "update")
OTHERS = (
    "create", "create", "delete", "delete", "fork", "fork", "export", "arrive", "arrive", "say", "purge",
    "undo", "undo", "undo", "redo", "redo", "rewind", "put", "put", "put", "put", "put", "put", "write",
    "delete_thread", "prune_thread", "collect", "delete_runs", "copy_thread", "record", "item", "item", "item",
)  # fmt: skip


LONG = ("create", "delete", "fork", "arrive", "purge", "undo", "delete_thread", "prune_thread", "delete_runs", "item")
"""Those that take several calls."""


def _other(name: str, a: int) -> str:
    others = [each for each in NAMES if each != name]
    return others[a % len(others)]


def _delete_thread(worker: Worker, name: str, form: Form) -> None:
    worker.saver(form).delete_thread(name)


def _prune_to_nothing(worker: Worker, name: str, form: Form) -> None:
    worker.saver(form).prune([name], strategy="delete")


def _work(values: dict[str, Any], a: int, b: int, c: int) -> set[str]:
    """What a step of a graph does to its state: which channels are others now. No message is there twice."""
    changed = set()
    if a % 4:
        messages = values.setdefault(CHANNEL, [])
        if b % 8 == 0 and messages:
            messages[c % len(messages)] = message(b)
        elif b % 8 == 1:
            del messages[: c % 3]
        else:
            messages += several(c % 3 + 1, b)
        changed.add(CHANNEL)
    if a % 3 == 0:
        change_files(values.setdefault("files", {}), b, c)
        changed.add("files")
    if a % 3 == 1 or not changed:
        values["n"] = next(_counter)
        changed.add("n")
    return changed
