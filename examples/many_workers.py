"""Many workers and many sessions: workers are killed at any moment, and no turn is lost, doubled or out of order.

    python -m pip install ".[redis]" langgraph && python examples/many_workers.py redis://localhost:6379

Without a URL it does the same on a directory. The rule: the id of a request is the id of its message. So a request
whose worker has died is given to another one; if it was answered already, its answer is there and nobody asks the
model again. (A graph's turn whose worker has died is in the way of the session's next one for up to 30 seconds. So that
you need not wait, nobody is killed here who has a graph's turn to do.)
"""

import multiprocessing
import random
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph

from langgraph_sessionstore import SessionManager

WORKERS, SESSIONS, TURNS, KILLS = 4, 200, 3, 8
AHEAD = 5  # so many requests lie before a worker at once


class Request(NamedTuple):
    """A turn that a user asks for."""

    session: str
    turn: int
    graph: bool
    """Whether a graph answers, or a model."""

    @property
    def id(self) -> str:
        """Tells it from all others, however often it is given to a worker."""
        return f"{self.session}/{self.turn}"


class Worker(NamedTuple):
    """A worker process, the line to it, and what it has to do."""

    process: Any
    line: Connection
    todo: list[Request]


class Figures(NamedTuple):
    """What was done, and what the sessions hold of it."""

    asked: int
    again: int
    answered: int
    killed: int
    lost: int
    doubled: int
    disordered: int


class Echo(BaseChatModel):
    """Stands for a model."""

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        said = AIMessage(f"You said: {messages[-1].text}")
        return ChatResult(generations=[ChatGeneration(message=said)])


def answer(state: MessagesState) -> Any:
    """The only node of the graph."""
    return {"messages": [AIMessage(f"You said: {state['messages'][-1].text}")]}


def work(url: str, line: Connection) -> None:
    """What a worker does: take the next request, answer it."""
    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
    with SessionManager.from_url(url) as manager:
        for request in iter(line.recv, None):
            session = manager.get_session(request.session)
            assert session is not None
            chat = session.conversation(graph if request.graph else Echo())
            line.send((request, chat.run(HumanMessage(request.id, id=request.id)).id))


class Office:
    """Gives the requests to workers, and puts a new worker in the place of one that has died."""

    def __init__(self, url: str, work: Callable[[str, Connection], None], spare: bool) -> None:
        self.url, self.work, self.spare = url, work, spare
        methods = multiprocessing.get_all_start_methods()
        self.context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:  # then new workers need not import all of it again
            self.context.set_forkserver_preload([work.__module__, "langgraph_sessionstore.conversation.graphing"])
        self.workers: dict[Connection, Worker] = {}
        self.victims: set[Any] = set()
        self.waiting: deque[Request] = deque()
        self.answered: dict[Request, str] = {}
        self.asked: Counter[Request] = Counter()

    def hire(self) -> None:
        """Begin a worker."""
        line, theirs = multiprocessing.Pipe()
        process = self.context.Process(target=self.work, args=(self.url, theirs), daemon=True)
        process.start()
        theirs.close()
        self.workers[line] = Worker(process, line, [])

    def hand_out(self) -> None:
        """Let everybody have something to do."""
        for worker in self.workers.values():
            while self.waiting and len(worker.todo) < AHEAD:
                request = self.waiting.popleft()
                worker.todo.append(request)
                self.asked[request] += 1
                try:
                    worker.line.send(request)
                except OSError:
                    break  # it is dead, which `collect` finds out

    def kill(self) -> bool:
        """Kill somebody who is at work, if there is anybody who may be killed."""
        victims = [each for each in self.workers.values() if each.todo and each.process not in self.victims]
        victims = [each for each in victims if not (self.spare and any(request.graph for request in each.todo))]
        if victims:
            process = random.choice(victims).process
            self.victims.add(process)
            process.kill()
        return bool(victims)

    def collect(self) -> list[Request]:
        """Take the answers that have come; what the dead had to do is given to others."""
        done = []
        for line in wait([*self.workers]):
            assert isinstance(line, Connection)
            worker = self.workers[line]
            try:
                request, said = line.recv()
            except (EOFError, OSError):
                del self.workers[line]
                line.close()
                worker.process.join()
                if worker.process not in self.victims:  # then the next one would fail, too
                    raise RuntimeError("a worker has failed; what it says of it is above") from None
                self.waiting.extendleft(reversed(worker.todo))
                self.hire()
                continue
            worker.todo.remove(request)
            self.answered[request] = said
            done.append(request)
        return done

    def close(self) -> None:
        """Let all workers go home."""
        for worker in self.workers.values():
            worker.line.send(None)
        for worker in self.workers.values():
            worker.process.join()
            assert worker.process.exitcode == 0
            worker.line.close()


def look(manager: SessionManager, office: Office) -> Figures:
    """Compare what the sessions hold with what was answered."""
    lost = doubled = disordered = 0
    for name in {request.session for request in office.answered}:
        turns = sorted(request for request in office.answered if request.session == name)
        wanted = [each for request in turns for each in (request.id, office.answered[request])]
        session = manager.get_session(name)
        found = [message.id for message in session.messages] if session is not None else []
        lost += len({*wanted} - {*found})
        doubled += len(found) - len({*found}) + len({*found} - {*wanted})
        disordered += found != wanted
    again = sum(times - 1 for times in office.asked.values())
    return Figures(len(office.asked), again, len(office.answered), len(office.victims), lost, doubled, disordered)


def crowd(
    url: str,
    sessions: int = SESSIONS,
    turns: int = TURNS,
    kills: int = KILLS,
    work: Callable[[str, Connection], None] = work,
    spare: bool = True,
) -> Figures:
    """Let workers talk on all sessions, each turn when the one before was answered, and kill some of them."""
    office = Office(url, work, spare)
    with SessionManager.from_url(url) as manager:
        names = [manager.create_session().id for _ in range(sessions)]
        office.waiting.extend(Request(name, 0, at % 10 == 0) for at, name in enumerate(names))
        doomed = sorted(random.sample(range(sessions * turns * 9 // 10), kills))  # after so many answers, or soon after
        for _ in range(WORKERS):
            office.hire()
        while len(office.answered) < sessions * turns:
            office.hand_out()
            if doomed and len(office.answered) >= doomed[0] and office.kill():
                del doomed[0]
            for request in office.collect():
                if request.turn + 1 < turns:
                    office.waiting.append(request._replace(turn=request.turn + 1))
        office.close()
        figures = look(manager, office)
        for name in names:
            manager.delete_session(name)
    return figures


def main(url: str) -> None:
    """Show what has come of it."""
    figures = crowd(url)
    print(f"turns asked: {figures.asked}, and {figures.again} of them again")
    print(f"answered: {figures.answered}")
    print(f"workers killed: {figures.killed}")
    print(f"lost: {figures.lost}, doubled: {figures.doubled}, sessions out of order: {figures.disordered}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
