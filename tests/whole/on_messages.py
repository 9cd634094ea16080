"""Acts on messages, summary and details, and those that take them back."""

from __future__ import annotations

from typing import Any

from support.sittings import Form
from whole.act import Act, Maker, message, several
from whole.model import SessionModel
from whole.sheet import Sheet
from whole.workers import Worker
from whole.world import World

TRANSACTED = ("append", "append", "extend", "insert", "remove", "set_summary", "update")


class OnMessages(Maker):
    """Makes them."""

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
