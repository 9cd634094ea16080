"""The foundation by itself: plans, guards and batches on a backend. Runs on the embedded default, a directory.

    python -m pip install . && python examples/foundation.py [URL]

Give it another URL, such as redis://localhost:6379, and it does the same there.
"""

import asyncio
import sys
import tempfile
import uuid

from langgraph_sessionstore import ConflictError, arun, keys, open_backend, run
from langgraph_sessionstore.ops import (
    Append,
    Batch,
    Call,
    Calls,
    Conflict,
    Drop,
    Expect,
    Forget,
    Get,
    Page,
    Plan,
    Put,
    Range,
    Touch,
    etag,
    must,
)

REGISTRY = keys.registry("session")
TITLE, LOG = keys.encode("title"), keys.encode("log")

# Plans are logic without I/O. Each of them runs sync and async, on every backend.


def create(session_id: str, title: str) -> Plan[None]:
    """List a session and begin its partition: two batches, one trip. An existing one is an error."""
    partition = keys.session(session_id)
    _, created = yield Calls(
        [
            Call(REGISTRY, Batch(Touch(partition))),
            Call(partition, Batch(Expect(keys.INCARNATION, False), Put(TITLE, title.encode()))),
        ],
        ordered=True,
    )
    if isinstance(created, Conflict):
        raise ConflictError(f"there is a session {session_id!r} already")


def say(session_id: str, text: str) -> Plan[None]:
    """Append to the log. The storage gives the number, so that writers never collide."""
    yield from must(keys.session(session_id), Append(LOG, text.encode()))


def rename(session_id: str, title: str) -> Plan[None]:
    """Change a row, but only if nobody else does so between reading and writing."""
    partition = keys.session(session_id)
    (old,) = yield from must(partition, Get(TITLE))
    yield from must(partition, Expect(TITLE, etag(old)), Put(TITLE, title.encode()))


def show(session_id: str) -> Plan[str]:
    """Read everything in one atomic step."""
    title, log = yield from must(keys.session(session_id), Get(TITLE), Range(*keys.below("log")))
    return f"{title.decode()}: " + " / ".join(text.decode() for _, text in log)


def fork(session_id: str, new_id: str) -> Plan[None]:
    """Copy everything on the server, and change the title of the copy in the same step."""
    source, target = keys.session(session_id), keys.session(new_id)
    yield Calls(
        [Call(REGISTRY, Batch(Touch(target))), Call(target, Batch(Put(TITLE, b"A fork")), source=source)],
        ordered=True,
    )


def delete(session_id: str) -> Plan[None]:
    """Everything goes in one step, whatever there is; then the line in the registry."""
    partition = keys.session(session_id)
    yield Calls([Call(partition, Batch(Drop())), Call(REGISTRY, Batch(Forget(partition)))], ordered=True)


def listed() -> Plan[list[str]]:
    """The newest sessions."""
    (page,) = yield from must(REGISTRY, Page("active", limit=10, reverse=True))
    return [str(keys.decode(entry.name)[1]) for entry in page.rows]


async def other_worker(url: str, session_id: str) -> None:
    """Another worker on the same storage, with the async form of the same plans."""
    async with open_backend(url) as backend:
        await asyncio.gather(*[arun(backend, say(session_id, f"async {n}")) for n in range(3)])


def main(url: str) -> None:
    """Walk through the life of a session."""
    session_id, alternative = f"trip-{uuid.uuid4()}", f"trip-{uuid.uuid4()}"
    with open_backend(url) as backend:
        run(backend, create(session_id, "A trip to Japan"))
        run(backend, say(session_id, "Tokyo"))
        asyncio.run(other_worker(url, session_id))
        run(backend, rename(session_id, "A long trip to Japan"))
        print(run(backend, show(session_id)))

        try:
            run(backend, create(session_id, "Another one"))
        except ConflictError as exc:
            print("refused:", exc)

        run(backend, fork(session_id, alternative))
        run(backend, say(alternative, "Osaka"))
        print(run(backend, show(alternative)))

        run(backend, delete(session_id))
        print("left of the first:", run(backend, must(keys.session(session_id), Range(b"", None)))[0])
        print("still listed:", session_id in run(backend, listed()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
