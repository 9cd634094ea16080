"""Eight processes at once on one Redis or one cluster: nothing lost, nothing twice, everyone's own order kept."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from langgraph_sessionstore import keys, open_backend, run
from langgraph_sessionstore.ops import Get, Put, Range, must

pytestmark = pytest.mark.long

PROCESSES = 8
RECORDS = 200

WORKER = """
import asyncio, sys
from langgraph_sessionstore import open_backend, run
from langgraph_sessionstore.ops import *

url, name, me, records = sys.argv[1], bytes.fromhex(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def edits(count):  # read, change, write under a guard, until it holds
    for _ in range(count):
        while True:
            seen = (yield from call(name, Get(b"edited")))[0]
            new = Put(b"edited", b"%d" % (int(seen) + 1))
            if not isinstance((yield from call(name, Expect(b"edited", etag(seen)), new)), Conflict):
                break

async def main():
    async with open_backend(url) as backend:
        for number in range(records):
            call_ = [Call(name, Batch(Append(b"log", b"%s %d" % (me.encode(), number)), Add(b"sum", number)))]
            (answer,) = await backend.aexecute(call_) if number % 2 else backend.execute(call_)
            assert isinstance(answer, list), answer
        run(backend, edits(20))

asyncio.run(main())
"""


@pytest.mark.parametrize("server", ["redis62", "redis7", "cluster"])
def test_eight_processes_on_one_partition(server: str, request: pytest.FixtureRequest) -> None:
    url, name = request.getfixturevalue(server).url, keys.session(str(uuid.uuid4()))
    with open_backend(url) as backend:
        run(backend, must(name, Put(b"edited", b"0")))
        command = [sys.executable, "-W", "error", "-c", WORKER, url, name.hex()]
        workers = [subprocess.Popen([*command, str(number), str(RECORDS)]) for number in range(PROCESSES)]
        assert [worker.wait(120) for worker in workers] == [0] * PROCESSES
        reads = (Range(b"log\x02", b"log\xff"), Get(b"sum"), Get(b"edited"))
        rows, total, edited = run(backend, must(name, *reads))
    assert [key for key, _ in rows] == [keys.sequence(b"log", n) for n in range(PROCESSES * RECORDS)]
    for number in range(PROCESSES):
        own = [value for _, value in rows if value.split()[0] == str(number).encode()]
        assert own == [b"%d %d" % (number, n) for n in range(RECORDS)]
    assert int(total) == PROCESSES * sum(range(RECORDS))
    assert int(edited) == PROCESSES * 20
