"""Scripts: what is done with storage and models, step by step, whether one blocks or awaits.

A script is a generator, as a plan is. It yields steps: a plan for the storage, a question to a model, a lease to hold
until the end. `perform` and `aperform` carry it out. What goes wrong in a step is thrown into the script; so is the
end of a stream that nobody listens to any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from typing import Any, NamedTuple, Protocol, TypeVar

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig

from .backends.base import Backend
from .drive import arun, run
from .errors import OutcomeUnknown
from .ops import Plan
from .session.lease import Lease

T = TypeVar("T")


class Hearing(Protocol):
    """Listens to an answer that comes in pieces."""

    options: Mapping[str, Any]
    """What has to be asked for, so that it does."""

    def hear(self, piece: Any) -> Iterator[AIMessageChunk]:
        """What a listener gets of this piece."""

    def whole(self) -> Any:
        """What the answer was, when it has come to its end."""


class Do(NamedTuple):
    """Work on the storage; replies its result."""

    plan: Plan[Any]
    patience: float | None = None
    """Seconds after which an event loop waits no longer: `OutcomeUnknown`."""


class Say(NamedTuple):
    """Let whoever listens hear this."""

    chunk: AIMessageChunk


class Ask(NamedTuple):
    """A question to a model, or whatever else can be invoked; replies its answer."""

    runnable: Runnable[Any, Any]
    input: Any
    config: RunnableConfig | None = None
    options: Mapping[str, Any] = {}
    hearing: Hearing | None = None
    """Whoever listens gets this answer piece by piece."""


class Hold(NamedTuple):
    """Hold a lease from here to the end; replies the session with it."""

    lease: Lease


Step = Do | Say | Ask | Hold
Script = Generator[Step, Any, T]


def perform(backend: Backend, script: Script[T], *, stream: bool = False) -> Generator[AIMessageChunk, None, T]:
    """Carry a script out: what is heard of its answers, when it is streamed, and in the end its result."""
    with ExitStack() as held:
        reply: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = script.send(reply) if error is None else script.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            reply = error = None
            try:
                if isinstance(step, Do):
                    reply = run(backend, step.plan)
                elif isinstance(step, Hold):
                    reply = held.enter_context(step.lease)
                elif isinstance(step, Say):
                    if stream:
                        yield step.chunk
                elif step.hearing is None or not stream:
                    reply = step.runnable.invoke(step.input, step.config, **step.options)
                else:
                    options = {**step.options, **step.hearing.options}
                    with closing(_pieces(step.runnable.stream(step.input, step.config, **options))) as pieces:
                        for piece in pieces:
                            yield from step.hearing.hear(piece)
                    reply = step.hearing.whole()
            except BaseException as exc:
                error = exc


async def aperform(
    backend: Backend, script: Script[T], *, stream: bool = False, results: list[T]
) -> AsyncIterator[AIMessageChunk]:
    """The async form of `perform`; the result is added to `results`."""
    async with AsyncExitStack() as held:
        reply: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = script.send(reply) if error is None else script.throw(error)
            except StopIteration as stop:
                results.append(stop.value)
                return
            reply = error = None
            try:
                if isinstance(step, Do):
                    reply = await _within(step.patience, arun(backend, step.plan))
                elif isinstance(step, Hold):
                    reply = await held.enter_async_context(step.lease)
                elif isinstance(step, Say):
                    if stream:
                        yield step.chunk
                elif step.hearing is None or not stream:
                    reply = await step.runnable.ainvoke(step.input, step.config, **step.options)
                else:
                    options = {**step.options, **step.hearing.options}
                    async with aclosing(_apieces(step.runnable.astream(step.input, step.config, **options))) as pieces:
                        async for piece in pieces:
                            for chunk in step.hearing.hear(piece):
                                yield chunk
                    reply = step.hearing.whole()
            except BaseException as exc:
                error = exc


async def _within(seconds: float | None, work: Coroutine[Any, Any, Any]) -> Any:
    if seconds is None:
        return await work
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError as exc:
        raise OutcomeUnknown(f"the storage has not answered for {seconds:.0f} seconds") from exc


def finish(backend: Backend, script: Script[T]) -> T:
    """Carry a script out to its result."""
    performing = perform(backend, script)
    try:
        while True:
            next(performing)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def afinish(backend: Backend, script: Script[T]) -> T:
    """The async form of `finish`."""
    results: list[T] = []
    async for _ in aperform(backend, script, results=results):
        pass
    return results[0]


def _pieces(stream: Iterator[Any]) -> Generator[Any, None, None]:
    """The same, as something that can be closed, and closes what it is made of."""
    try:
        yield from stream
    finally:
        if hasattr(stream, "close"):
            stream.close()


async def _apieces(stream: AsyncIterator[Any]) -> Any:
    """The async form of `_pieces`."""
    try:
        async for piece in stream:
            yield piece
    finally:
        if hasattr(stream, "aclose"):
            await stream.aclose()
