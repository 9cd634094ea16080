"""The main example: the life of a session. Runs on the embedded default, a directory.

    python -m pip install . && python examples/quickstart.py [URL]

Give it another URL, such as redis://localhost:6379, and it does the same there.
"""

import asyncio
import sys
import tempfile
import uuid

from langgraph_sessionstore import ConflictError, SessionDeleted, SessionManager


async def elsewhere(url: str, session_id: str) -> None:
    """Another worker, in the async form of the same calls."""
    async with SessionManager.from_url(url) as manager:
        session = await manager.aget_session(session_id)
        assert session is not None
        await session.aappend("assistant", "Three days will do.")
        print("another worker sees:", [message.text for message in await session.amessages()])


def main(url: str) -> None:
    """Create, talk, edit, undo, fork, count, delete."""
    user = f"ann {uuid.uuid4()}"  # so that nobody else's sessions are met
    with SessionManager.from_url(url) as manager:
        session = manager.create_session(title="A trip to Japan", metadata={"user": user})
        session.append("user", "How long shall I stay in Kyoto?")
        asyncio.run(elsewhere(url, session.id))

        session.replace(0, "user", "How long shall I stay in Tokyo?")
        print(session.undo())
        try:
            with session.transaction() as tx:
                tx.append("user", "And in Osaka?")
                raise ConnectionError("the model is not reachable")
        except ConnectionError:
            print("still:", len(session), "messages")

        fork = session.fork()
        fork.append("user", "What about Nara instead?")
        fork.summary = "Ann plans a trip."
        print(f"{len(session)} messages here, {len(fork)} in the fork")

        session.record_usage("planning", "some-model", input_tokens=120, output_tokens=30, seconds=1.4, cost=0.0042)
        print(session.show_cost_summary())
        print(session.status())

        with session.lease(10) as turn:
            turn.append("user", "My turn.")
            try:
                session.append("user", "Mine too!")
            except ConflictError as exc:
                print("refused:", exc)

        for info in manager.iter_sessions(filter={"user": user}):
            print("listed:", info.title, "- a fork" if info.parent else "")
        manager.delete_session(session.id)
        try:
            session.append("user", "Is anybody there?")
        except SessionDeleted:
            print("it does not come back")
        print("deleted:", manager.delete_sessions(filter={"user": user}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
