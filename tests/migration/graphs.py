"""A graph with all that lies in checkpoints: branches, sends, subgraphs, questions; and what its threads hold."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from support.peers import Form
from typing_extensions import TypedDict

AT_ONCE: Any = {"durability": "sync"}
"""RedisSaver hides the writes that it is given before their checkpoint, as in the background they may be."""


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    notes: Annotated[list[str], operator.add]
    files: dict[str, str]


def plan(state: State) -> Command[Any]:
    turn = len(state["messages"])
    return Command(
        update={"notes": [f"plan {turn}"], "files": {"plan": "p" * 2000, "turn": str(turn)}},
        goto=[Send("work", {"messages": [], "notes": [name]}) for name in ("one", "two")] + [Send("ask", state)],
    )


def work(state: State) -> State:
    return {"notes": [f"worked on {[*state['notes'], 'it'][0]}"]}


def question(state: State) -> State:
    first = interrupt("What?")
    second = interrupt(f"{first}, and then?")
    return {"notes": [f"{first} {second}"]}


def answer(state: State) -> State:
    number = len(state["messages"])
    return {"messages": [AIMessage(f"answer {number}", id=f"a{number}")]}


def built(saver: Any) -> Any:
    """The graph on a checkpointer."""
    inner: Any = StateGraph(State).add_node("question", question).add_node("look", work)
    inner = inner.add_edge(START, "look").add_edge("look", "question").compile()
    builder: Any = StateGraph(State).add_node("plan", plan, destinations=("work", "ask"))
    builder.add_node("work", work).add_node("ask", inner).add_node("answer", answer)
    builder.add_edge(START, "plan").add_edge(["work", "ask"], "answer")
    return builder.compile(checkpointer=saver)


def at(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def turn(form: Form, graph: Any, thread: str, *answers: str) -> None:
    """A turn of a thread, as far as these answers lead."""
    number = len(form.do(graph, "get_state", at(thread)).values.get("messages", ()))
    form.do(graph, "invoke", {"messages": [HumanMessage("Hello", id=f"h{number}")], "notes": []}, at(thread), **AT_ONCE)
    for said in answers:
        form.do(graph, "invoke", Command(resume=said), at(thread), **AT_ONCE)


def fill(form: Form, saver: Any) -> None:
    """Threads at all stages: asking, asking again, done, done twice, forked."""
    graph = built(saver)
    turn(form, graph, "asks")
    turn(form, graph, "asks again", "Tea")
    turn(form, graph, "done", "Tea", "cake")
    turn(form, graph, "twice", "Tea", "cake")
    turn(form, graph, "twice", "Milk")
    turn(form, graph, "forked", "Tea", "cake")
    states = [found for found in form.tuples(saver, at("forked")) if not found.config["configurable"]["checkpoint_ns"]]
    form.do(graph, "update_state", states[-2].config, {"notes": ["from outside"]}, as_node="answer")


def carry_on(form: Form, saver: Any) -> dict[str, Any]:
    """Go on with all of them; what they are like before and after."""
    graph = built(saver)
    seen: dict[str, Any] = {}

    def look(what: str, thread: str) -> None:
        state = form.do(graph, "get_state", at(thread))
        values = {**state.values, "messages": [(each.type, each.text) for each in state.values["messages"]]}
        seen[what] = (values, state.next, [each.value for each in state.interrupts])

    for thread in ("asks", "asks again", "done", "twice", "forked"):
        look(f"{thread}, before", thread)
    for thread, said in (("asks", ["Wine", "bread"]), ("asks again", ["pie"]), ("twice", ["honey"])):
        for each in said:
            form.do(graph, "invoke", Command(resume=each), at(thread), **AT_ONCE)
        look(f"{thread}, answered", thread)
    turn(form, graph, "done", "Rum")
    look("done, another turn", "done")
    form.do(graph, "update_state", at("forked"), {"notes": ["changed"]}, as_node="answer")
    look("forked, changed", "forked")
    roots = [each for each in form.tuples(saver, at("done")) if not each.config["configurable"]["checkpoint_ns"]]
    first = min(roots, key=lambda each: str(each.checkpoint["id"]))
    form.do(graph, "invoke", None, first.config, **AT_ONCE)  # time travel: again from the very first
    look("done, from its beginning", "done")
    return seen


def held(form: Form, saver: Any) -> dict[Any, Any]:
    """All that a checkpointer holds, by thread, namespace and checkpoint, in plain words."""
    found: dict[Any, Any] = {}
    for listed in form.tuples(saver, None):
        where = listed.config["configurable"]
        name = (where["thread_id"], where["checkpoint_ns"], where["checkpoint_id"])
        full = form.do(saver, "get_tuple", {"configurable": dict(where)})
        writes: dict[str, list[Any]] = {}
        for task, channel, value in full.pending_writes:
            writes.setdefault(task, []).append((channel, plain(value)))
        for each in writes.values():  # RedisSaver has its own order for the special channels, which are one write each
            each.sort(key=lambda write: WRITES_IDX_MAP.get(write[0], 0))
        parent = full.parent_config and full.parent_config["configurable"]["checkpoint_id"]
        parts = ("channel_values", "channel_versions", "versions_seen", "ts", "v")
        checkpoint = {part: plain(full.checkpoint[part]) for part in parts}
        found[name] = (checkpoint, plain(dict(full.metadata)), parent, writes)
    return found


def plain(value: Any) -> Any:
    """A value without the difference between lists and tuples, which LangGraph's serializer does not know."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value
