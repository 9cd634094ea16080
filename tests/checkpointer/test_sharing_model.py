"""Whatever is put comes back, on every worker, whichever way it was stored.

Two threads, two namespaces, three workers with memories of different sizes, and limits so small that the rare ways are
taken all the time: lists in too many pieces, scans of many pages, pages of listings, values that are too large.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.savers import Saver, checkpoint, config
from support.thread_model import Name, ThreadModel, change_files, change_list, form_of, item, message, wreck

from langgraph_sessionstore import Backend, ConflictError
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer
from langgraph_sessionstore.plans import channels, listing, writing

numbers = st.integers(0, 47)
few = st.integers(0, 7)
which = st.integers(0, 2)
threads = st.sampled_from([0, 0, 0, 1])
spaces = st.sampled_from(["", "", "node:1|sub:2"])
edit = st.tuples(st.sampled_from(["messages", "messages", "things", "files", "text", "n", "gone"]), numbers, few)
edits = st.lists(edit, min_size=1, max_size=4)
life = itertools.count()


class Live:
    """What a worker holds in its hands: a checkpoint that it has put or read, and the values in it."""

    def __init__(self, thread: int, name: Name, values: dict[str, Any], versions: dict[str, Any]) -> None:
        self.thread, self.name, self.values, self.versions = thread, name, values, versions


class Workers(RuleBasedStateMachine):
    """The state machine; one life of it has two threads of its own."""

    backends: Sequence[Backend]
    loop: asyncio.AbstractEventLoop

    @initialize()
    def begin(self) -> None:
        number = next(life)
        self.names = [f"{number} {id(self.backends)} a", f"{number} {id(self.backends)} b"]
        self.models = [ThreadModel(), ThreadModel()]
        self.lives = [0, 0]
        self.count = self.steps = 0
        self.savers = [self.worker(0), self.worker(1), self.worker(2)]
        self.live: list[Live | None] = [None, None, None]

    def worker(self, which: int) -> Saver:
        """A worker that remembers nothing: the second hardly ever does, the third is driven in the async form."""
        options: Any = {"cache_bytes": 6_000} if which == 1 else {}
        return Saver(SessionCheckpointer(self.backends[which], **options), self.loop if which == 2 else None)

    def config(self, thread: int, name: Name | None = None, ns: str | None = "") -> Any:
        return config(self.names[thread], name[1], name[0]) if name else config(self.names[thread], ns)

    # -- puts

    @rule(which=which, thread=threads, ns=spaces, back=few, edits=edits, how=numbers)
    def put(self, which: int, thread: int, ns: str, back: int, edits: Any, how: int) -> None:
        """Put on the newest checkpoint, on an older one, or on none; what it holds is read first, or known."""
        names = self.models[thread].names(ns)
        at = 0 if back < 5 else back
        values: dict[str, Any] = {}
        versions: dict[str, Any] = {}
        parent = names[at % len(names)] if names and back != 4 else None
        if parent and how % 3:
            found: Any = self.savers[which].load(self.config(thread, parent))
            assert form_of(found) == self.models[thread].form(parent)
            values, versions = found.checkpoint["channel_values"], found.checkpoint["channel_versions"]
        elif parent:
            values, versions = self.models[thread].copy_of(parent)
        self.go_on(which, thread, ns, parent and parent[0], values, versions, edits, how)

    @rule(which=which, thread=threads, ns=spaces, turns=st.lists(st.tuples(edits, numbers), min_size=1, max_size=5))
    def go_on_putting(self, which: int, thread: int, ns: str, turns: Any) -> None:
        """Put on what was put last, with the very objects, although that checkpoint may be gone meanwhile."""
        for edits, how in turns:
            live = self.live[which]
            if live is None:
                self.put(which, thread, ns, 0, edits, how)
            else:
                parent, ns = live.name
                self.go_on(which, live.thread, ns, parent, live.values, dict(live.versions), edits, how)

    def go_on(
        self, which: int, thread: int, ns: str, parent: str | None, values: Any, versions: Any, edits: Any, how: int
    ) -> None:
        saver, model = self.savers[which], self.models[thread]
        new: dict[str, Any] = {}
        for channel, kind, at in edits:
            name = ("messages", "things", "files", "text", "n")[kind % 5] if channel == "gone" else channel
            new[name] = versions[name] = saver.checkpointer.get_next_version(versions.get(name), None)
            change(values, channel, name, kind, at)
        self.count += 1
        name = self.id_of(how), ns
        given = dict(values)
        if (parent, ns) in model.known and how % 4 == 0:
            given = {channel: value for channel, value in values.items() if channel in new}  # the rest stays anyway
        self.steps += 1
        metadata: dict[str, Any] = {
            "source": ("loop", "input", "update")[how % 3],
            "step": self.steps,
            "parents": {},
            "odd": self.steps % 2,
            "run_id": f"{self.names[thread]} {self.lives[thread]} {how % 4}",
        }
        known = values if versions else {}
        model.put(name, {c: v for c, v in known.items() if c in versions}, versions, metadata, parent)
        put = saver.put(config(self.names[thread], ns, parent), checkpoint(given, versions, id=name[0]), metadata, new)
        assert put == self.config(thread, name)
        self.live[which] = Live(thread, name, values, versions)

    def id_of(self, how: int) -> str:
        """Greater than all before, but for a few."""
        return f"{self.count - how % 5 if how % 9 == 8 else self.count:06}-{self.count:06}"

    @rule(which=which, thread=threads, back=few, ns=spaces, task=few, kinds=st.lists(numbers, max_size=3))
    def put_writes(self, which: int, thread: int, back: int, ns: str, task: int, kinds: list[int]) -> None:
        """Write to a checkpoint that is there, or to one that comes next."""
        names = self.models[thread].names(ns)
        name = names[back // 5] if len(names) > 1 and back < 6 else (f"{self.count + 1:06}-{self.count + 1:06}", ns)
        special = ("__error__", "__interrupt__", "__resume__")
        writes = [(special[kind % 3] if kind % 4 == 3 else f"channel {kind % 2}", item(kind, kind)) for kind in kinds]
        if writes:
            self.models[thread].write(name, writes, f"task {task // 3}", f"path {task % 2}")
        self.savers[which].put_writes(self.config(thread, name), writes, f"task {task // 3}", f"path {task % 2}")

    # -- reads

    @rule(which=which, thread=threads, ns=spaces, back=st.none() | few)
    def get(self, which: int, thread: int, ns: str, back: int | None) -> None:
        """Read the newest or any other; what one does to what was handed out is nobody else's business."""
        names = self.models[thread].names(ns)
        if not names:
            assert self.savers[which].get(self.config(thread, ns=ns)) is None
            return
        name = names[(back or 0) % len(names)]
        found = self.savers[which].load(self.config(thread, None if back is None else name, ns))
        assert form_of(found) == self.models[thread].form(name)
        wreck(found)

    @rule(
        which=which, thread=threads, ns=st.sampled_from([None, "", "node:1|sub:2"]), odd=st.none() | st.integers(0, 1),
        limit=st.none() | st.integers(0, 5), back=st.none() | few,
    )  # fmt: skip
    def list(
        self, which: int, thread: int, ns: str | None, odd: int | None, limit: int | None, back: int | None
    ) -> None:
        model = self.models[thread]
        names = model.names(ns)
        options: Any = {"limit": limit}
        if odd is not None:
            options["filter"] = {"odd": odd}
        if back is not None and names:
            before = names[back % len(names)][0]
            options["before"] = config(None, None, before)
            names = [name for name in names if name[0] < before]
        wanted = [name for name in names if odd is None or model.known[name].metadata["odd"] == odd][:limit]
        found = self.savers[which].list(self.config(thread, ns=ns), **options)
        assert [form_of(each) for each in found] == [model.form(name) for name in wanted]
        for each in found:
            wreck(each)

    # -- whole threads, and workers

    @rule(which=which, thread=threads, what=st.integers(0, 9), run=st.integers(0, 3))
    def take_away(self, which: int, thread: int, what: int, run: int) -> None:
        """One rule for all that makes checkpoints go, so that most steps put some."""
        if what < 3:
            self.savers[which].prune([self.names[thread]])
            self.models[thread].prune()
        elif what < 6:
            self.delete_for_runs(which, run)
        elif what < 7:
            self.copy_thread(which, thread, run % 2 == 0)
        elif what < 8:
            self.savers[which].collect(self.names[thread])
        elif what < 9:
            self.savers[which] = self.worker(which)
            return
        elif run == 0:
            self.delete_thread(which, thread)
        self.nothing_is_left_over(thread)

    def delete_for_runs(self, which: int, run: int) -> None:
        """Some runs in both threads, which are over then: nobody goes on with them."""
        every = {known.metadata["run_id"] for model in self.models for known in model.known.values()}
        runs = sorted(each for each in every if each.endswith(f" {run}"))
        self.savers[which].delete_for_runs(runs)
        for at, model in enumerate(self.models):
            model.delete_runs(runs)
            self.lives[at] += 1

    def copy_thread(self, which: int, source: int, first: bool) -> None:
        """To a new thread, or instead of one that was there."""
        if first and self.models[source].exists():
            self.delete_thread(which, 1 - source)
        names = self.names[source], self.names[1 - source]
        if self.models[1 - source].exists():
            with pytest.raises(ConflictError):
                self.savers[which].copy_thread(*names)
            return
        self.savers[which].copy_thread(*names)
        self.models[1 - source] = self.models[source].copy()

    def delete_thread(self, which: int, thread: int) -> None:
        self.savers[which].delete_thread(self.names[thread])
        self.models[thread] = ThreadModel()
        self.lives[thread] += 1

    def nothing_is_left_over(self, thread: int) -> None:
        assert list(map(str, self.savers[0].check(self.names[thread]))) == []

    # -- what always holds

    @invariant()
    def the_newest_loads(self) -> None:
        if not hasattr(self, "savers"):
            return
        for thread, model in enumerate(self.models):
            saver = self.savers[(self.count + thread) % 3]
            for name in model.names("")[:1]:
                assert form_of(saver.load(self.config(thread))) == model.form(name)
            lost = [str(problem) for problem in saver.check(self.names[thread]) if problem.kind != "unreferenced"]
            assert lost == []

    def teardown(self) -> None:
        if not hasattr(self, "savers"):
            return
        for thread, model in enumerate(self.models):
            for saver in (*self.savers, self.worker(0)):
                wanted = [model.form(name) for name in model.names()]
                assert [form_of(found) for found in saver.list(self.config(thread, ns=None))] == wanted
                assert [form_of(saver.load(self.config(thread, name))) for name in model.names()] == wanted
            self.savers[0].collect(self.names[thread])
            self.nothing_is_left_over(thread)
            self.savers[0].delete_thread(self.names[thread])


def change(values: dict[str, Any], channel: str, name: str, kind: int, at: int) -> None:
    """Give a channel another value; the objects in it stay the same where they can."""
    if channel == "gone":
        values.pop(name, None)
    elif name in ("messages", "things"):
        made = message if name == "messages" else item
        change_list(values.setdefault(name, []), kind, at, lambda number: made(kind + number % 3, number))
    elif name == "files":
        change_files(values.setdefault(name, {}), kind, at)
    elif name == "text":
        values[name] = f"{at}" * (60 * (kind % 9))
    else:
        values[name] = kind % 4 or None


PHASES = [phase for phase in Phase if phase is not Phase.explain]  # it traces every line, far too slowly


@pytest.mark.long
@pytest.mark.parametrize("kind", ["memory", "file", "redis7"])
def test_workers_get_what_was_put(kind: str, storage: Callable[[], Backend], monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, limit in (
        (channels, "SLICES", 4), (channels, "INLINE", 40), (channels, "ITEM", 40), (channels, "SHARED", 200),
        (writing, "SCAN", 2), (listing, "PAGE", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, limit)
    with closing(asyncio.new_event_loop()) as loop:
        opened = [storage(), storage(), storage()]
        machine = type("Workers", (Workers,), {"backends": opened, "loop": loop})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=50 if kind == "memory" else 12,
                    stateful_step_count=30,
                    phases=PHASES,
                    deadline=None,
                    derandomize=True,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            if kind != "memory":
                loop.run_until_complete(opened[2].aclose())
