"""Acts on sessions as a whole, on their usage, and on items of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.sittings import Form
from whole.act import Act, Maker, counter, other_than, quietly, several
from whole.workers import Worker

from langgraph_sessionstore import SESSION_NAMESPACE, Usage


class OnSessions(Maker):
    """Makes them."""

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
        (session, life), new = handle, other_than(name, a)
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
                file = self.file.with_name(f"{next(counter)}.jsonl")
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
        key, value = f"k{b % 2}", {"n": next(counter)} if b % 3 else None
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
