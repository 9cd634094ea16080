"""Processes that write to one session at once, and what each hands back."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from support.nursery import NURSERY

from langgraph_sessionstore import ConflictError, Session, SessionManager

Work = Callable[[Session, int, int, Connection], Any]


def all_at_once(work: Work, url: str, session_id: str, members: int, rounds: int, **options: Any) -> list[Any]:
    """Let so many processes do the same; what each has to say, in their order."""
    lines, processes = [], []
    for member in range(members):
        ours, theirs = NURSERY.Pipe()
        lines.append(ours)
        args = (work, url, session_id, member, rounds, theirs, options)
        processes.append(NURSERY.Process(target=_be_one, args=args, daemon=True))
        processes[-1].start()
        theirs.close()
    try:
        for line in lines:
            assert line.recv() == "ready"
        for line in lines:
            line.send("go")
        said = [line.recv() if line.poll(120) else "nothing" for line in lines]
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()
            process.join()
    return said


def _be_one(
    work: Work, url: str, session_id: str, member: int, rounds: int, line: Connection, options: dict[str, Any]
) -> None:
    with SessionManager.from_url(url, **options) as manager:
        session = manager.get_session(session_id)
        assert session is not None
        line.send("ready")
        line.recv()
        line.send(work(session, member, rounds, line))


def append(session: Session, member: int, rounds: int, line: Connection) -> None:
    """Append one message after the other."""
    for number in range(rounds):
        session.append("user", f"{member} {number}")


def edit(session: Session, member: int, rounds: int, line: Connection) -> list[str]:
    """Insert at the front, and replace what is there; which of these were done."""
    done = []
    for number in range(rounds):
        text = f"edit {member} {number}"
        try:
            if number % 2:
                session.insert(0, "user", text)
            else:
                session.transact(lambda tx: tx.replace(-1, "user", f"{tx.at(-1).text}+{text}"))  # noqa: B023
        except ConflictError:
            continue
        done.append(text)
    return done


def record(session: Session, member: int, rounds: int, line: Connection) -> None:
    """Record usage, in phases that all share."""
    for number in range(rounds):
        session.record_usage(
            f"phase {number % 3}", "m", input_tokens=member, output_tokens=1, cost=0.000001, seconds=0.5
        )
