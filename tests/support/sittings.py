"""Sessions driven in one of the two forms: with a loop every call goes to the async one."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph_sessionstore import Session, SessionManager

_PROPERTIES = {"title", "system", "metadata", "messages", "summary", "usage", "metrics", "info", "last_usage"}


class Form:
    """One of the two forms: `form.do(session, "append", "user", "Hello")`."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop

    def do(self, subject: Any, name: str, *args: Any, **options: Any) -> Any:
        """Call a method, or read a property."""
        if self.loop is not None:
            name = "acount" if name == "len" else f"a{name}"
            return self.loop.run_until_complete(getattr(subject, name)(*args, **options))
        if name == "len":
            return len(subject)
        return getattr(subject, name) if name in _PROPERTIES else getattr(subject, name)(*args, **options)

    def texts(self, session: Session) -> list[str]:
        """The messages, as texts."""
        return [message.text for message in self.do(session, "messages")]

    def everything(self, manager: SessionManager, **options: Any) -> list[Any]:
        """All sessions that are listed."""
        if self.loop is None:
            return list(manager.iter_sessions(**options))

        async def gather() -> list[Any]:
            return [info async for info in manager.aiter_sessions(**options)]

        return self.loop.run_until_complete(gather())

    def enter(self, context: Any) -> Any:
        """Begin a transaction or a lease."""
        if self.loop is None:
            return context.__enter__()
        return self.loop.run_until_complete(context.__aenter__())

    def leave(self, context: Any, error: BaseException | None = None) -> None:
        """End it."""
        given = (type(error) if error else None, error, None)
        if self.loop is None:
            context.__exit__(*given)
        else:
            self.loop.run_until_complete(context.__aexit__(*given))

    def pause(self, seconds: float) -> None:
        """Let time pass, and tasks run."""
        if self.loop is None:
            import time

            time.sleep(seconds)
        else:
            self.loop.run_until_complete(asyncio.sleep(seconds))
