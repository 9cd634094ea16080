"""A storage with sessions of all kinds, whose rows are damaged by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage
from support.savers import checkpoint, config
from support.sittings import Form

from langgraph_sessionstore import CheckedSession, Session, SessionManager, keys, run
from langgraph_sessionstore.ops import Delete, Get, Op, Put, Range, Row, must
from langgraph_sessionstore.plans import layout
from langgraph_sessionstore.plans.places import REGISTRY
from langgraph_sessionstore.testing import check_registry

FIRST, SECOND, THIRD, INNER = "000001", "000002", "000003", "000004"
TEXT = "so long that it is shared " * 20


def says(*numbers: int) -> list[HumanMessage]:
    """Messages that are large enough to be shared."""
    return [HumanMessage(f"{number} {TEXT}", id=str(number)) for number in numbers]


class Care:
    """The storage. What is looked at or repaired is so by a worker that knows nothing of what was written."""

    def __init__(self, form: Form, manager_on: Callable[..., SessionManager]) -> None:
        self.form, self._manager_on = form, manager_on
        self.manager = manager_on()

    def other(self) -> SessionManager:
        """Another worker."""
        return self._manager_on()

    # -- what is there

    def thread(self, name: str) -> dict[str, Any]:
        """A session of a graph with four checkpoints; the third shares nothing with the first two. Their configs."""
        there: dict[str, Any] = {}
        base = config(name)
        for id_, messages in ((FIRST, says(0)), (SECOND, says(0, 1)), (THIRD, says(7, 8))):
            base = self.put(base if id_ != THIRD else config(name), id_, messages)
            there[id_] = base
            self.form.do(self.manager.checkpointer, "put_writes", base, [("messages", TEXT)], "task")
        there[INNER] = self.put(config(name, "inner:1"), INNER, says(9))
        return there

    def put(self, base: Any, id_: str, messages: Any, **options: Any) -> Any:
        """Put a checkpoint."""
        made = checkpoint({"messages": messages}, {"messages": int(id_)}, id=id_, **options)
        new = made["channel_versions"]
        return self.form.do(self.manager.checkpointer, "put", base, made, {"source": "loop", "step": 0}, new)

    def log(self, name: str) -> Session:
        """A session with messages in its log, and something of every other kind."""
        said = [("user", f"{number}") for number in range(4)]
        session: Session = self.form.do(
            self.manager, "create_session", name, title="A trip", summary="Far.", metadata={"a": 1}, messages=said
        )
        self.form.do(session, "append", "user", "more")
        self.form.do(session, "remove", 1)
        self.form.do(session, "replace", 0, "user", "first")
        self.form.do(session, "undo")
        self.form.do(session, "record_usage", "chat", "model", input_tokens=3)
        self.form.do(session.store, "put", ("notes",), "a", {"text": "x"})
        self.form.do(session.store, "put", ("notes",), "b", {"text": "y"}, ttl=60)
        return session

    # -- its rows

    def rows(self, name: str, span: keys.Span = (b"", b"\xff")) -> list[Row]:
        """The rows of a session."""
        found: list[Row] = self.do(keys.session(name), Range(*span))[0]
        return found

    def do(self, partition: bytes, *ops: Op) -> list[Any]:
        """Do something to a partition."""
        return run(self.manager.backend, must(partition, *ops))

    def delete(self, name: str, key: bytes) -> None:
        """Take a row away, which has to be there."""
        assert self.do(keys.session(name), Delete(key)) == [True]

    def set(self, name: str, key: bytes, value: bytes) -> None:
        """Set a row."""
        self.do(keys.session(name), Put(key, value))

    def get(self, name: str, key: bytes) -> Any:
        """The value of a row."""
        return self.do(keys.session(name), Get(key))[0]

    def elements(self, name: str) -> list[tuple[int, int]]:
        """The branches and slots of the elements."""
        decoded = [keys.decode(key) for key, _ in self.rows(name, layout.ELEMENTS)]
        return [(int(branch), int(slot)) for _, branch, slot in decoded]

    def lists(self) -> list[str]:
        """What is wrong in the list of sessions."""
        return run(self.manager.backend, check_registry(REGISTRY))

    # -- looking after it

    def check(self, name: str, *, repair: bool = False) -> CheckedSession:
        """Check one session, with a worker that knows nothing."""
        checked: CheckedSession = self.form.do(self.other(), "check_session", name, repair=repair)
        return checked

    def problems(self, name: str) -> list[str]:
        """What is wrong with a session."""
        return [str(problem) for problem in self.check(name).problems]

    def check_all(self, **options: Any) -> list[CheckedSession]:
        """Check everything."""
        manager = self.other()
        if self.form.loop is None:
            return list(manager.check_sessions(**options))

        async def gather() -> list[CheckedSession]:
            return [checked async for checked in manager.acheck_sessions(**options)]

        return self.form.loop.run_until_complete(gather())

    def texts(self, where: Any, worker: SessionManager | None = None) -> list[str]:
        """The numbers of the messages of a checkpoint, as a worker reads them; without one, as a new one does."""
        found = self.form.do((worker or self.other()).checkpointer, "get_tuple", where)
        return [message.text.split()[0] for message in found.checkpoint["channel_values"]["messages"]]

    def repaired(self, name: str) -> list[str]:
        """Repair a session; then nothing is left to be repaired, and doing it again does nothing."""
        before = self.check(name)
        assert before.problems
        done = self.check(name, repair=True)
        assert done.problems == (), done
        again = self.check(name, repair=True)
        assert (again.problems, again.repaired) == ((), ())
        return list(done.repaired)
