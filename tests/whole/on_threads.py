"""Acts on threads of graphs, through the checkpointer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from langgraph.checkpoint.base.id import uuid6
from support.savers import checkpoint, config
from support.sittings import Form
from support.thread_model import ThreadModel, change_files, form_of
from whole.act import Act, Maker, counter, message, other_than, quietly, several
from whole.model import CHANNEL
from whole.workers import Live, Worker
from whole.world import NAMES, SUB, World


class OnThreads(Maker):
    """Makes them."""

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
        for each in sorted(NAMES):  # as the list names them
            parts.append(partial(World.delete_run, name=each, run=over))
            parts += [partial(step, name=each) for step in (World.end_graph, World.end_if_empty)]
        return Act(f"delete {over}", lambda form: worker.saver(form).delete_for_runs([over]), tuple(parts))

    def _copy_thread(self, worker: Worker, form: Form, name: str, a: int, b: int, c: int) -> Act:
        new = other_than(name, a)
        real = lambda form: worker.saver(form).copy_thread(name, new)  # noqa: E731
        return Act(f"copy thread {name} to {new}", real, (lambda world: world.copy_thread(name, new),))


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
        values["n"] = next(counter)
        changed.add("n")
    return changed
