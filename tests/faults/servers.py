"""Trouble of one Redis server: connections that break at any byte, answers that come late, a server that is killed.

Rule: the server keeps what it has answered (`appendfsync always`), so nothing that was acknowledged may be missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from faults.ledger import Figures, judge, notes
from faults.writers import Kind, Load, Plan, load
from support.proxy import Proxy
from support.servers import RedisServer

from langgraph_sessionstore import SessionManager

ALWAYS = ("--appendfsync", "always")
PATIENCES = (60.0, 60.0, 0.2, 0.2)
"""Of four writers, two sync and two async. Those with patience notice nothing: each write of theirs is done."""
IMPATIENT = {"unknown:OutcomeUnknown", "refused:BackendUnavailable"}
"""What only the others are told."""


def judged(plan: Plan, url: str, begun: float, may_lose: bool = False) -> Figures:
    """What a fresh manager finds."""
    with SessionManager.from_url(url, **{"patience": 30.0, **plan.options}) as manager:
        figures = judge(plan.folder, manager, begun, may_lose)
    for note in notes(plan.folder):
        if note.mark.startswith(("w0.", "w1.")) and note.result in IMPATIENT:
            figures.wrong.append(f"{note.act} of {note.mark} was {note.result}, in spite of all patience")
    return figures


def through(proxy: Proxy) -> str:
    return f"redis://{proxy.host}:{proxy.port}/0"


def cuts(plan: Plan, server: RedisServer) -> Figures:
    """The connection breaks at each byte of each request and of each reply, for every kind of write.

    The four writers take turns. With patience they try again; without, they say that they do not know. The bytes come
    in the order of chance, until the time is over; all of them take some minutes.
    """
    begun = time.monotonic()
    with Proxy(server.host, server.port, settle=0) as proxy:
        kind = Kind(through(proxy), plan.options, plan.folder, plan.chance.random(), size=1)
        writers = [kind.writer(number, patience=(60.0, 0.0)[number // 2]) for number in range(4)]
        try:
            places = [
                (number, act, side, place)
                for number, writer in enumerate(writers)
                for act in (writer.append, writer.edit, writer.turn)
                for side, size in zip(SIDES, sizes(proxy, act), strict=True)
                for place in range(number, size, len(writers))
            ]
            plan.chance.shuffle(places)
            left = list(places)
            for _ in plan.rounds(40):
                if not left:
                    break
                number, act, side, place = left.pop()
                writers[number].begin_anew()
                assert act(), "nothing is wrong yet"
                getattr(proxy, f"cut_after_{side}_bytes")(place)
                act()
                proxy.cut_nothing()
        finally:
            for writer in writers:
                writer.close()
    return judged(plan, server.url, begun)._replace(remark=f"cut at {len(places) - len(left)} of {len(places)} bytes")


SIDES = ("request", "reply")


def sizes(proxy: Proxy, act: Callable[[], bool]) -> tuple[int, int]:
    """How many bytes it sends and receives; done once before, it begins its session."""
    assert act()
    up, down = proxy.bytes_up, proxy.bytes_down
    assert act()
    return proxy.bytes_up - up, proxy.bytes_down - down


def pause(plan: Plan, writers: Load, number: int, most: float) -> None:
    """How long trouble lasts: until it is noticed, and every other time just so many seconds at most."""
    if number % 2:
        time.sleep(plan.chance.uniform(0, most))
    else:
        writers.trouble()


def late(plan: Plan, server: RedisServer) -> Figures:
    """Answers come later than the client waits for them, for a moment or for longer."""
    begun = time.monotonic()
    with Proxy(server.host, server.port, settle=0) as proxy:
        url = through(proxy) + "?socket_timeout=0.1"
        with load(plan, url, *PATIENCES) as writers:
            for number in plan.rounds():
                writers.progress(10)
                proxy.hold_replies()
                pause(plan, writers, number, 0.5)
                proxy.release_replies()
            writers.progress(10)
    return judged(plan, server.url, begun)


def restarts(plan: Plan, server: RedisServer) -> Figures:
    """The server is killed under load, and started again on what it has written."""
    begun = time.monotonic()
    with load(plan, server.url, *PATIENCES) as writers:
        for number in plan.rounds():
            writers.progress(plan.chance.randrange(10, 40))
            server.kill()
            pause(plan, writers, number, 0.5)
            server.start()
        writers.progress(20)
    return judged(plan, server.url, begun)
