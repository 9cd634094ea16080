"""What is left when our code is taken away: the very commands that it sends to Redis, sent by redis-py alone.

Rule: same commands, same bytes, same round trips, on the same data, so that the server does the same. The traffic of a
series is recorded on its way; before it is sent again, the data are put back to what they were.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import redis
import redis.asyncio
from benchmarks.calls import CALLS, Series, series
from benchmarks.contender import Contender
from benchmarks.stage import Stage
from support.proxy import Proxy
from support.proxy_link import Link
from support.servers import RedisServer

from langgraph_sessionstore import SessionCheckpointer

Command = tuple[bytes, ...]
Trip = list[Command]


class Recorder(Proxy):
    """A proxy that keeps what clients send, trip by trip."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._kept: list[bytearray] = []

    def taken(self) -> list[Trip]:
        """The trips since the last time."""
        with self._lock:
            found, self._kept = self._kept, []
        return [list(commands(bytes(sent))) for sent in found]

    def _forward_up(self, link: Link, data: bytes) -> None:
        if not link.in_burst:
            self._kept.append(bytearray())
        self._kept[-1] += data
        super()._forward_up(link, data)


def commands(sent: bytes) -> Iterator[Command]:
    """Commands as clients send them: arrays of byte strings."""
    at = 0

    def number(kind: bytes) -> int:
        nonlocal at
        end = sent.index(b"\r\n", at)
        assert sent[at : at + 1] == kind, f"not a command: {sent[at:end]!r}"
        start, at = at + 1, end + 2
        return int(sent[start:end])

    while at < len(sent):
        words = []
        for _ in range(number(b"*")):
            size = number(b"$")
            words.append(sent[at : at + size])
            at += size + 2
        yield tuple(words)


def send(client: Any, trips: list[Trip]) -> None:
    """Send them by redis-py's own means."""
    for trip in trips:
        if len(trip) == 1:
            client.execute_command(*trip[0])
        else:
            piped(client, trip).execute()


async def asend(client: Any, trips: list[Trip]) -> None:
    """The async form of `send`."""
    for trip in trips:
        if len(trip) == 1:
            await client.execute_command(*trip[0])
        else:
            await piped(client, trip).execute()


def piped(client: Any, trip: Trip) -> Any:
    """A pipeline with these commands."""
    transaction = trip[0] == (b"MULTI",)
    pipeline = client.pipeline(transaction=transaction)
    for words in trip[1:-1] if transaction else trip:
        pipeline.execute_command(*words)
    return pipeline


class Recorded:
    """A series that was sent once, to be sent again."""

    def __init__(self, server: RedisServer, recorder: Recorder, acts: Series) -> None:
        """Have it sent through the recorder to the server."""
        self._server = server
        self._trips: dict[str, list[list[Trip]]] = {}
        results: list[Any] = []
        with suppress(StopIteration):
            name, todo = next(acts)
            while True:
                self._trips[name], results = [], []
                recorder.taken()
                for act in todo:
                    results.append(act())
                    self._trips[name].append(recorder.taken())
                if not name:
                    self._before = self.everything()
                name, todo = acts.send(results)
        del self._trips[""]
        self.after = self.everything()

    def everything(self) -> dict[bytes, bytes]:
        """All that the server has."""
        with self._server.client() as client:
            return {key: client.dump(key) for key in client.scan_iter()}

    def again(self, client: Any, form: str) -> Series:
        """The same once more, on what was there before."""
        self._server.ask("FLUSHALL")
        with self._server.client() as own:
            for key, value in self._before.items():
                own.restore(key, 0, value)
        for name, calls in self._trips.items():
            yield form + name, [partial(asend if form else send, client, trips) for trips in calls]


class RawClient(Contender):
    """redis-py in our place."""

    name, beside = "raw client", "our Redis"

    def __init__(self, stage: Stage) -> None:
        self._server = stage.redis(self.name)
        with ExitStack() as stack:
            recorder = stack.enter_context(Recorder(self._server.host, self._server.port))
            url = f"redis://{recorder.host}:{recorder.port}/0"
            saver = stack.enter_context(SessionCheckpointer.from_url(url))
            self.recorded = Recorded(self._server, recorder, series(saver, "", stage.size(CALLS, 10), "again"))

    @contextmanager
    def open(self) -> Iterator[Callable[[str], Series]]:
        with self._server.client() as client:
            client.ping()
            yield partial(self.recorded.again, client)

    @asynccontextmanager
    async def aopen(self) -> AsyncIterator[Callable[[str], Series]]:
        async with redis.asyncio.Redis(host=self._server.host, port=self._server.port) as client:
            await client.ping()
            yield partial(self.recorded.again, client)
