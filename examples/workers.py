"""Several workers on one session: no message is lost, no turn is interleaved, no cost is miscounted.

    python -m pip install ".[redis]" && python examples/workers.py redis://localhost:6379

Without a URL it does the same on a directory.
"""

import multiprocessing
import sys
import tempfile

from langgraph_sessionstore import SessionManager

WORKERS, TURNS = 4, 5


def work(url: str, session_id: str, name: str) -> None:
    """What one worker does: wait for its turn, say something, and be answered."""
    with SessionManager.from_url(url) as manager:
        session = manager.get_session(session_id)
        assert session is not None
        for number in range(TURNS):
            with session.lease(10, wait=60) as turn:
                turn.append("user", f"{name}, {number}")
                turn.append("assistant", f"yes, {name}, {number}")
            session.record_usage("chat", "some-model", input_tokens=10, output_tokens=5, cost=0.001)


def main(url: str) -> None:
    """Begin a session, let the workers at it, and look at what they left."""
    with SessionManager.from_url(url) as manager:
        session_id = manager.create_session(title="A busy one").id
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(url, session_id, f"worker {n}")) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    with SessionManager.from_url(url) as manager:
        session = manager.get_session(session_id)
        assert session is not None
        texts = [message.text for message in session.messages]
        pairs = zip(texts[::2], texts[1::2], strict=True)
        print("messages:", len(texts))
        print("each answered at once:", all(answer == f"yes, {question}" for question, answer in pairs))
        print(session.show_cost_summary().rpartition(" | ")[0])
        session.delete()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
