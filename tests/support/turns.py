"""A tool agent whose model is a script: each turn human, AI with a tool call, tool, AI; 400 bytes each.

Rule: its texts can be compressed as little as what people write, and are the same each time.
"""

from __future__ import annotations

import random
import string
from typing import Annotated, Any
from zlib import crc32

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

SIZE = 400
_NOISE = "".join(random.Random(400).choices(string.ascii_lowercase + " " * 5, k=1 << 18))
MESSAGES, CHECKPOINTS = 4, 5
"""Of each turn."""


class State(TypedDict):
    """A conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


def text(*words: object) -> str:
    """Text of 400 bytes that begins with these words."""
    begin = " ".join(map(str, words))
    at = crc32(begin.encode()) % (len(_NOISE) - SIZE)
    return f"{begin} {_NOISE[at : at + SIZE]}"[:SIZE]


def model(state: State) -> dict[str, Any]:
    """Call the tool for a question, answer what the tool says."""
    count, last = len(state["messages"]), state["messages"][-1]
    if isinstance(last, ToolMessage):
        return {"messages": [AIMessage(text("answer", count))]}
    call = {"name": "search", "args": {"query": f"question {count}"}, "id": f"call-{count}", "type": "tool_call"}
    return {"messages": [AIMessage(text("let me see", count), tool_calls=[call])]}


def tools(state: State) -> dict[str, Any]:
    """What the tool says."""
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    return {
        "messages": [
            ToolMessage(text("found", each["args"]), tool_call_id=each["id"] or "") for each in last.tool_calls
        ]
    }


def after_model(state: State) -> str:
    """To the tools when there are calls."""
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


def agent(checkpointer: BaseCheckpointSaver[Any]) -> Any:
    """The graph."""
    builder = StateGraph(State)
    builder.add_node("model", model)
    builder.add_node("tools", tools)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", after_model, ["tools", END])
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=checkpointer)


def run_turns(checkpointer: BaseCheckpointSaver[Any], thread: str, turns: int) -> dict[str, Any]:
    """Talk to the agent so many times; the state at the end."""
    graph = agent(checkpointer)
    state: dict[str, Any] = {}
    for turn in range(turns):
        config = {"configurable": {"thread_id": thread}}
        state = graph.invoke({"messages": [HumanMessage(text("question", turn))]}, config, durability="sync")
    return state
