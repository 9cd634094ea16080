"""A process that works on one thread together with others, and what it hands back.

Rule: what a process has put it knows in full; what it reads of the others' has to say itself that it is whole.
"""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from multiprocessing.queues import Queue
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.base.id import uuid6
from support.savers import Saver, checkpoint, config
from support.thread_model import plain

from langgraph_sessionstore import ConflictError, open_backend
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer

WORDS = "some words to make an element of it, which is shared "
NAMESPACES = ("", "node:1|sub:2")


class Member:
    """One process's work on the thread."""

    def __init__(self, saver: SessionCheckpointer, thread: str, member: int, life: str) -> None:
        self.saver, self.thread, self.member = saver, thread, member
        self.life = life
        self.random = random.Random(f"{member} {life}")
        self.known: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}
        """What this process has put: (id, ns) -> plain values, metadata."""
        self.writes: dict[tuple[str, str], set[str]] = {}
        self.deleted: set[str] = set()
        """Runs whose checkpoints it has taken away."""
        self.hands: dict[str, Any] = {}
        """By namespace: config, values and versions of what was put or read last."""
        self.counts: Counter[str] = Counter()
        self.number = 0

    def work(self, seconds: float) -> None:
        """Do one thing after the other until the time is over."""
        ways = (
            (self.put, 60), (self.put_on_what_is_there, 14), (self.put_writes, 8), (self.read_own, 6),
            (self.read_any, 6), (self.page, 2), (self.prune, 2), (self.delete_for_runs, 2), (self.copy, 1),
            (self.collect, 2),
        )  # fmt: skip
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            (way,) = self.random.choices([way for way, _ in ways], [weight for _, weight in ways])
            try:
                way()
                self.counts[way.__name__] += 1
            except ConflictError as exc:
                if way not in (self.prune, self.delete_for_runs) or "too busy" not in str(exc):
                    raise
                self.counts[f"conflict in {way.__name__}"] += 1

    # -- writing

    def put(self) -> None:
        """Go on with what is in the hands, whether it still stands or not."""
        ns = self.random.choice(NAMESPACES[:1] * 3 + NAMESPACES)
        if ns not in self.hands:
            self.put_on_what_is_there()
            return
        where, values, versions = self.hands[ns]
        new: dict[str, Any] = {}
        for name in self.random.sample(("messages", "files", "text", "n"), self.random.randint(1, 3)):
            self.change(name, values)
            new[name] = versions[name] = self.saver.get_next_version(versions.get(name), None)
        self.number += 1
        run = f"{self.life} {self.member} {self.random.randrange(40)}"
        metadata: Any = {"source": "loop", "step": self.number, "parents": {}, "by": self.member, "run_id": run}
        made = checkpoint(dict(values), dict(versions), id=str(uuid6(clock_seq=-1)))
        self.known[made["id"], ns] = plain(dict(sorted(values.items()))), metadata
        self.hands[ns] = self.saver.put(where, made, metadata, new), values, versions

    def change(self, name: str, values: dict[str, Any]) -> None:
        number, at = self.random.randrange(1_000_000), self.random.random()
        if name == "n":
            values[name] = number
        elif name == "text":
            values[name] = f"{number} {WORDS}" * self.random.choice((1, 5, 40))
        elif name == "files":
            values[name] = {**values.get(name, {}), f"file {number % 7}": f"{number} {WORDS * 20}"}
        else:
            messages: list[BaseMessage] = values.setdefault(name, [])
            place = int(at * len(messages))
            what = self.random.randrange(12)
            if what == 0 and messages:
                messages[place].content = f"edited {number} {WORDS}"
            elif what == 1 or len(messages) > 80:
                del messages[: place + 10]
            elif what == 2:
                del messages[place:]
            elif what == 3 and messages:
                messages.insert(place, messages[-1])
            elif what == 4:
                messages.reverse()
            else:
                kind = AIMessage if number % 2 else HumanMessage
                messages += [
                    kind(f"{number + more} {WORDS * 3}", id=f"{number + more}") for more in range(number % 3 + 1)
                ]

    def put_on_what_is_there(self) -> None:
        """Fork from the newest or some other, whoever has put it."""
        ns = self.random.choice(NAMESPACES)
        limit = self.random.choice((1, 1, 5))
        found = list(self.saver.list(config(self.thread, ns), limit=limit))
        if found:
            self.compare(found[-1])
            values: Any = found[-1].checkpoint["channel_values"]
            self.hands[ns] = found[-1].config, values, dict(found[-1].checkpoint["channel_versions"])
        else:
            self.hands[ns] = config(self.thread, ns), {}, {}
        self.put_in(ns)

    def put_in(self, ns: str) -> None:
        self.counts["puts on what is there"] += 1
        where, values, versions = self.hands[ns]
        versions["n"] = self.saver.get_next_version(versions.get("n"), None)
        values["n"] = self.random.randrange(1000)
        metadata: Any = {"source": "update", "step": self.number, "parents": {}, "by": self.member, "run_id": "kept"}
        made = checkpoint(dict(values), dict(versions), id=str(uuid6(clock_seq=-1)))
        self.known[made["id"], ns] = plain(dict(sorted(values.items()))), metadata
        self.hands[ns] = self.saver.put(where, made, metadata, {"n": versions["n"]}), values, versions

    def put_writes(self) -> None:
        for ns, (where, _, _) in self.hands.items():
            named = where["configurable"]
            if "checkpoint_id" in named:
                text = f"{self.random.randrange(1000)} {WORDS}"
                task = f"task {self.member} {self.random.randrange(1_000_000)}"
                self.saver.put_writes(where, [("messages", text), ("n", [text])], task)
                self.writes.setdefault((named["checkpoint_id"], ns), set()).add(task)

    # -- reading

    def compare(self, found: Any) -> None:
        """A checkpoint of this process is as it was put; of another one it can at least be read."""
        named = found.config["configurable"]
        own = self.known.get((named["checkpoint_id"], named["checkpoint_ns"]))
        if own is not None:
            assert plain(dict(sorted(found.checkpoint["channel_values"].items()))) == own[0], named
            assert found.metadata == own[1], named
            self.counts["own compared"] += 1
        for message in found.checkpoint["channel_values"].get("messages", ()):
            assert WORDS in message.content

    def read_own(self) -> None:
        """One that this process has put, if nobody has taken it away."""
        if self.known:
            checkpoint_id, ns = self.random.choice(list(self.known)[-30:])
            found = self.saver.get_tuple(config(self.thread, ns, checkpoint_id))
            self.counts["gone"] += found is None
            if found is not None:
                self.compare(found)

    def read_any(self) -> None:
        found = self.saver.get_tuple(config(self.thread, self.random.choice(NAMESPACES)))
        if found is not None:
            self.compare(found)

    def page(self) -> None:
        found = list(self.saver.list(config(self.thread, None), limit=40))
        ids = [each.config["configurable"]["checkpoint_id"] for each in found]
        assert ids == sorted(ids, reverse=True)
        for each in found:
            self.compare(each)

    # -- taking away

    def prune(self) -> None:
        self.saver.prune([self.thread])

    def delete_for_runs(self) -> None:
        runs = [f"{self.life} {self.random.randrange(4)} {self.random.randrange(40)}" for _ in range(3)]
        self.deleted.update(runs)
        self.saver.delete_for_runs(runs)

    def collect(self) -> None:
        self.saver.collect(self.thread)

    def copy(self) -> None:
        """A copy is whole at any moment."""
        target = f"{self.thread} copy {self.member} {self.number}"
        self.saver.copy_thread(self.thread, target)
        problems = [str(each) for each in self.saver.check(target) if each.kind != "unreferenced"]
        assert problems == []
        for found in self.saver.list(config(target, None)):
            self.compare(found)
        self.saver.delete_thread(target)


def be_a_member(url: str, thread: str, member: int, life: str, seconds: float, options: Any, told: Queue[Any]) -> None:
    """Work for so long, and tell what was put, and how often what was done; or what went wrong."""
    with open_backend(url) as backend:
        one = Member(SessionCheckpointer(backend, **options), thread, member, life)
        try:
            one.work(seconds)
            told.put((member, one.known, one.writes, one.deleted, one.counts, None))
        except Exception:
            told.put((member, one.known, one.writes, one.deleted, one.counts, traceback.format_exc()))


def cold(backend: Any) -> Saver:
    """A worker that remembers nothing."""
    return Saver(SessionCheckpointer(backend, cache_bytes=0), None)
