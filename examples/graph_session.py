"""A LangGraph agent on a session: messages are edited, undone, rewound and forked, and the graph goes on from there.

    python -m pip install . langgraph && python examples/graph_session.py [URL]

Runs on the embedded default, a directory; with another URL, such as redis://localhost:6379, it does the same there.
The "model" is a few lines of Python, so that nothing but this library and LangGraph is needed.
"""

import sys
import tempfile
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langgraph_sessionstore import Session, SessionManager


class State(TypedDict):
    """A conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


def answer(state: State) -> dict[str, Any]:
    """Say which cities were named so far."""
    cities = [message.text for message in state["messages"] if isinstance(message, HumanMessage)]
    return {"messages": [AIMessage(f"So far: {', '.join(cities)}.")]}


builder = StateGraph(State).add_node("answer", answer).add_edge(START, "answer")


def main(url: str) -> None:
    """One session, steered from outside while a graph uses it."""
    with SessionManager.from_url(url) as manager:
        graph = builder.compile(checkpointer=manager.checkpointer)
        session = manager.create_session()

        def ask(city: str, on: Session = session) -> str:
            state = graph.invoke({"messages": [HumanMessage(city)]}, on.config)
            message: AnyMessage = state["messages"][-1]
            return message.text

        ask("Tokyo")
        print(ask("Kyoto"))
        session.replace(0, "user", "Osaka")
        print("edited:", ask("Nara"))
        print(session.rewind(turns=1), "-", len(session), "messages")
        print("rewound:", ask("Kobe"))

        fork = session.fork()
        print("the fork:", ask("Himeji", fork))
        print("not here:", session.at(-1).text)
        assert session.messages == graph.get_state(session.config).values["messages"]
        print("checkpoints:", len(list(graph.get_state_history(session.config))))
        print("deleted:", manager.delete_session(session.id), manager.delete_session(fork.id))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
