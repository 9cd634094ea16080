"""A LangGraph app whose state survives: it asks before it acts, another worker answers, and time is travelled back.

    python -m pip install . langgraph && python examples/agent.py [URL]

Runs on the embedded default, a directory; with another URL, such as redis://localhost:6379, it does the same there.
The "model" is a few lines of Python, so that nothing but this library and LangGraph is needed.
"""

import asyncio
import sys
import tempfile
import uuid
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from langgraph_sessionstore import SessionCheckpointer


class State(TypedDict):
    """A conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


def model(state: State) -> dict[str, Any]:
    """Ask for the tool when there is a question, and say what it answered."""
    last = state["messages"][-1]
    if isinstance(last, ToolMessage):
        return {"messages": [AIMessage(f"Done: {last.text}")]}
    call = {"name": "book", "args": {"place": last.text}, "id": str(uuid.uuid4())}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def tools(state: State) -> dict[str, Any]:
    """Book, but only if a person agrees. The answer may come days later, from another process."""
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    call = last.tool_calls[0]
    agreed = interrupt(f"Book {call['args']['place']}?")
    text = f"booked {call['args']['place']}" if agreed else "not booked"
    return {"messages": [ToolMessage(text, tool_call_id=call["id"] or "")]}


def after_model(state: State) -> str:
    """To the tool, or to the end."""
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


builder = StateGraph(State)
builder.add_node("model", model)
builder.add_node("tools", tools)
builder.add_edge(START, "model")
builder.add_conditional_edges("model", after_model, ["tools", END])
builder.add_edge("tools", "model")


def said(state: dict[str, Any]) -> str:
    """The last words."""
    message: AnyMessage = state["messages"][-1]
    return message.text


async def another_worker(url: str, config: Any) -> None:
    """Answers the question, in the async form of the same calls."""
    async with SessionCheckpointer.from_url(url) as checkpointer:
        graph = builder.compile(checkpointer=checkpointer)
        if sys.version_info >= (3, 11):
            state = await graph.ainvoke(Command(resume=True), config)
        else:  # LangGraph's interrupts need a newer Python in async runs
            state = await asyncio.to_thread(graph.invoke, Command(resume=True), config)
        print("another worker:", said(state))


def main(url: str) -> None:
    """Walk through the life of a thread."""
    thread = f"trip-{uuid.uuid4()}"
    config: Any = {"configurable": {"thread_id": thread}}
    with SessionCheckpointer.from_url(url) as checkpointer:
        graph = builder.compile(checkpointer=checkpointer)
        state = graph.invoke({"messages": [HumanMessage("Kyoto")]}, config)
        print("question:", state["__interrupt__"][0].value)
        asyncio.run(another_worker(url, config))

        question = next(each for each in graph.get_state_history(config) if each.next == ("tools",))
        fork = graph.update_state(question.config, None)  # a branch of its own: the first one stays as it is
        state = graph.invoke(Command(resume=False), fork)
        print("had the answer been no:", said(state))
        print("checkpoints:", len(list(graph.get_state_history(config))))

        checkpointer.prune([thread])
        print("after pruning:", len(list(graph.get_state_history(config))))
        state = graph.invoke({"messages": [HumanMessage("Osaka")]}, config)
        print("it goes on:", state["__interrupt__"][0].value)
        checkpointer.delete_thread(thread)
        print("left:", list(checkpointer.list(config)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
