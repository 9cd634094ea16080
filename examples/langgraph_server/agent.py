"""An agent for LangGraph's server, whose threads and memories survive it: it asks before it books.

    python -m pip install . "langgraph-cli[inmem]"
    cd examples/langgraph_server && langgraph dev --no-browser --no-reload

`langgraph.json` says where all of it lies: `./sessions`, or a URL such as redis://localhost:6379. The "model" is a few
lines of Python, so that neither a network nor a key is needed.
"""

from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.base import BaseStore
from langgraph.types import interrupt

from langgraph_sessionstore import SESSION_NAMESPACE


def model(state: MessagesState) -> dict[str, Any]:
    """Ask for the tool when there is a wish, and say what came of it."""
    last = state["messages"][-1]
    if isinstance(last, ToolMessage):
        return {"messages": [AIMessage(f"Done: {last.text}")]}
    return {"messages": [AIMessage("", tool_calls=[{"name": "book", "args": {"place": last.text}, "id": last.id}])]}


async def book(state: MessagesState, config: RunnableConfig, *, store: BaseStore) -> dict[str, Any]:
    """Book, but only if a person agrees; the answer may come days later. What was booked is remembered twice."""
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    call = last.tool_calls[0]
    place = call["args"]["place"]
    if not interrupt(f"Book {place}?"):
        return {"messages": [ToolMessage("not booked", tool_call_id=call["id"] or "")]}
    await store.aput(("places",), place, {"booked": True})  # for all threads, and for ever
    thread = config["configurable"]["thread_id"]
    await store.aput((SESSION_NAMESPACE, thread, "places"), place, {"booked": True})  # goes with the thread
    return {"messages": [ToolMessage(f"booked {place}", tool_call_id=call["id"] or "")]}


def after_model(state: MessagesState) -> str:
    """To the tool, or to the end."""
    last = state["messages"][-1]
    return "book" if isinstance(last, AIMessage) and last.tool_calls else END


builder = StateGraph(MessagesState)
builder.add_node("model", model)
builder.add_node("book", book)
builder.add_edge(START, "model")
builder.add_conditional_edges("model", after_model, ["book", END])
builder.add_edge("book", "model")
graph = builder.compile()
