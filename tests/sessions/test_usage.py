"""Usage: what is recorded is added up exactly, by phase and model, and read as numbers and as text.

Rule: sums are compared as whole numbers or with the precision that is promised, a billionth and a microsecond.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from langchain_core.language_models import FakeListChatModel, FakeListLLM, GenericFakeChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModelError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import START, StateGraph
from support.sittings import Form
from typing_extensions import TypedDict

from langgraph_sessionstore import Metrics, Price, Session, SessionManager, SessionNotFound, SessionStoreError, Usage

PRICES = {"plain": Price(2.5, 10), "cheap-cache": Price(2, 10, 0.5)}


def sums(form: Form, session: Session) -> tuple[dict[str, Usage], dict[str, Usage]]:
    """What was used, by phase and by model."""
    metrics: Metrics = form.do(session, "metrics")
    return metrics.by_phase, metrics.by_model


def test_a_new_session_has_used_nothing(session: Session, form: Form) -> None:
    metrics = form.do(session, "metrics")
    assert (metrics.total, metrics.total_cost, metrics.total_calls) == (Usage(), 0, 0)
    assert (metrics.total_tokens, metrics.total_seconds, metrics.breakdown) == (0, 0, {})
    assert (sums(form, session), form.do(session, "usage"), form.do(session, "last_usage")) == (({}, {}), Usage(), None)


def test_sums_are_kept_by_phase_and_model(manager_on: Callable[..., SessionManager], form: Form) -> None:
    session = form.do(manager_on(), "create_session", "used")
    form.do(session, "record_usage", "plan", "a", input_tokens=10, output_tokens=2, seconds=0.25, cost=0.5)
    form.do(session, "record_usage", "plan", "b", input_tokens=20, cached_tokens=5, seconds=1, cost=1)
    form.do(session, "record_usage", "act", "a", output_tokens=7, cost=0.000000001, calls=3)
    other = form.do(manager_on(), "get_session", "used")
    assert sums(form, other) == (
        {"act": Usage(3, 0, 7, 0, 0, 1e-9), "plan": Usage(2, 30, 2, 5, 1.25, 1.5)},
        {"a": Usage(4, 10, 9, 0, 0.25, 0.500000001), "b": Usage(1, 20, 0, 5, 1, 1)},
    )
    metrics = form.do(other, "metrics")
    assert (metrics.total_calls, metrics.total_tokens, metrics.total_seconds) == (5, 39, 1.25)
    assert metrics.total_cost == pytest.approx(1.500000001, abs=1e-12)
    assert (metrics.breakdown, metrics.total) == ({"act": 1e-9, "plan": 1.5}, form.do(other, "usage"))
    assert form.do(other, "last_usage") == Usage(3, 0, 7, 0, 0, 1e-9)
    form.do(other, "record_usage", "plan", "a", input_tokens=1, seconds=0.25, cost=0.5)
    assert sums(form, session)[0]["plan"] == Usage(3, 31, 2, 5, 1.5, 2)
    assert form.do(session, "last_usage") == Usage(1, 1, 0, 0, 0.25, 0.5)


COSTS = [
    *((name, 0.006) for name in ("plain", "plain-2024-08-06", "plain-latest", "plain@20250101", "plain:1")),
    *((name, 0.0) for name in ("plain-mini", "plainer", "a-plain", "unknown", "")),
    ("cheap-cache", 0.0039),
]


@pytest.mark.parametrize(("model", "cost"), COSTS)
def test_the_cost_comes_from_the_prices(
    manager_on: Callable[..., SessionManager], form: Form, model: str, cost: float
) -> None:
    session = form.do(manager_on(prices=PRICES), "create_session")
    form.do(session, "record_usage", "p", model, input_tokens=1200, output_tokens=300, cached_tokens=1000)
    assert form.do(session, "usage") == Usage(1, 1200, 300, 1000, 0, cost)
    form.do(session, "record_usage", "p", model, input_tokens=1200, cost=2)
    assert form.do(session, "last_usage").cost == 2


def test_nothing_is_lost_between_threads(manager_on: Callable[..., SessionManager], form: Form) -> None:
    workers, records = 8, 50
    sessions = [form.do(manager_on(), "create_session", "busy", exist_ok=True) for _ in range(workers)]
    spent: dict[str, Any] = {"input_tokens": 3, "output_tokens": 1, "seconds": 0.000001, "cost": 1e-9}

    def record(number: int) -> None:
        for each in range(records):
            sessions[number].record_usage(f"phase {each % 3}", f"model {number % 2}", **spent)

    async def side_by_side() -> None:
        for each in range(records):
            names = [(f"phase {each % 3}", f"model {number % 2}") for number in range(workers)]
            calls = (session.arecord_usage(*name, **spent) for session, name in zip(sessions, names, strict=True))
            await asyncio.gather(*calls)

    if form.loop is None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(record, range(workers)))
    else:
        form.loop.run_until_complete(side_by_side())
    total, metrics = workers * records, form.do(sessions[0], "metrics")
    assert metrics.total._replace(seconds=0, cost=0) == Usage(total, total * 3, total)
    assert (round(metrics.total_seconds * 1e6), round(metrics.total_cost * 1e9)) == (total, total)
    assert [each.calls for each in metrics.by_model.values()] == [total // 2] * 2
    assert [each.calls for each in metrics.by_phase.values()] == [17 * workers, 17 * workers, 16 * workers]


NAN, INFINITE = float("nan"), float("inf")
NO_USAGE: list[tuple[str, list[Any]]] = [
    ("input_tokens", [-1, 1.5, NAN, "3", None, True, 2**53, 10**400]),
    ("output_tokens", [-1, 1.5, "3"]),
    ("cached_tokens", [-1, None]),
    ("calls", [-1, True]),
    ("seconds", [-0.1, NAN, INFINITE, 1e300, "1", None]),
    ("cost", [-1, NAN, INFINITE, 1e300, "1", True]),
    ("phase", [None, 3, b"p", ["p"]]),
    ("model", [None, 3, b"m", ["m"]]),
]


@pytest.mark.parametrize("priced", [True, False])
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in NO_USAGE for value in values],
    ids=lambda value: f"{value!r:.14}",
)
def test_what_is_no_usage_is_refused(form: Form, priced: bool, name: str, value: Any) -> None:
    session = SessionManager.from_url("memory:", prices=PRICES if priced else {}).create_session()
    session.record_usage("p", "plain", input_tokens=1, seconds=0.5, cost=0.25)
    before = sums(form, session), session.last_usage
    with pytest.raises(SessionStoreError):
        form.do(session, "record_usage", **{"phase": "p", "model": "plain", name: value})
    assert (sums(form, session), session.last_usage) == before


NAMES = [
    "", ".", "a", "a.b", "a\0b", "a\0", "a\x01", "a\x02", "'\"`", "{a}", "\u00e4", "a\u0308", "\ud800", "\U0001f642"
]  # fmt: skip


def test_names_of_all_sorts_stay_apart(session: Session, form: Form) -> None:
    for at, phase in enumerate(NAMES):
        form.do(session, "record_usage", phase, NAMES[-1 - at], input_tokens=1 << at)
        form.do(session, "record_usage", phase, phase, output_tokens=1)
    phases, models = sums(form, session)
    assert list(phases) == list(models) == sorted(NAMES)
    for at, phase in enumerate(NAMES):
        assert (phase, phases[phase]) == (phase, Usage(2, 1 << at, 1))
        assert (phase, models[NAMES[-1 - at]].input_tokens) == (phase, 1 << at)


def test_no_usage_of_a_session_that_is_gone(manager_on: Callable[..., SessionManager], form: Form) -> None:
    manager = manager_on()
    late = form.do(manager, "create_session", "gone")
    form.do(manager, "delete_session", "gone")
    again = form.do(manager_on(), "create_session", "gone")
    with pytest.raises(SessionNotFound):
        form.do(late, "record_usage", "p", input_tokens=1)
    assert form.do(again, "usage") == Usage()


def test_the_texts_say_what_was_used(session: Session, form: Form) -> None:
    assert form.do(session, "show_cost_summary") == "Cost: $0.0000 | Calls: 0 | Time: 0.0s"
    assert form.do(session, "show_cost").splitlines()[-1].split() == ["Total", "$0.0000", "0", "0", "0.0s"]
    form.do(session, "record_usage", "planning", "m", input_tokens=1200, output_tokens=300, seconds=2.1, cost=0.006)
    form.do(session, "record_usage", "a phase with a name of some length", seconds=3661, cost=12, calls=2)
    assert form.do(session, "show_cost_summary") == "Cost: $12.0060 | Calls: 3 | Time: 1h 1m 3s"
    title, line, head, below, *rows, end, total = form.do(session, "show_cost").splitlines()
    assert (title, head.split()) == ("Phase Breakdown:", ["Phase", "Cost", "Calls", "Tokens", "Time"])
    assert line == below == end == "-" * len(head)
    assert rows[0] == f"a phase with a name of some length{'$12.0000':>12}{2:>9}{0:>12}{'1h 1m 1s':>11}"
    assert rows[1].split() == ["planning", "$0.0060", "1", "1500", "2.1s"]
    assert total.split() == ["Total", "$12.0060", "3", "1500", "1h", "1m", "3s"]
    assert {len(each) for each in (head, *rows, total)} == {len(head)}


def test_status_and_messages_as_text(session: Session, form: Form) -> None:
    assert form.do(session, "show_messages") == "no messages"
    assert form.do(session, "status") == "Messages: 0 (log) | Summary: no | Checkpoints: 0 | Calls: 0 | Cost: $0.0000"
    form.do(session, "extend", [("system", "s"), *(["x"] * 7), HumanMessage([{"type": "text", "text": "in parts"}])])
    call = {"name": "look", "args": {}, "id": "1"}
    form.do(session, "append", AIMessage("I look.", tool_calls=[call, {**call, "name": "ask", "id": "2"}]))
    form.do(session, "append", ToolMessage("two\n\t lines", tool_call_id="1"))
    form.do(session, "append", "assistant", "y" * 101)
    form.do(session, "set_summary", "S")
    form.do(session, "record_usage", "p", cost=1.5, calls=2)
    assert form.do(session, "status") == "Messages: 12 (log) | Summary: yes | Checkpoints: 0 | Calls: 2 | Cost: $1.5000"
    lines = form.do(session, "show_messages").splitlines()
    last = [
        " 8  human      in parts",
        " 9  ai         I look. [calls look, ask]",
        "10  tool       two lines",
        f"11  ai         {'y' * 99}\N{HORIZONTAL ELLIPSIS}",
    ]
    assert (len(lines), lines[:2], lines[8:]) == (12, [" 0  system     s", " 1  human      x"], last)
    assert form.do(session, "show_messages", 4).splitlines() == last
    assert form.do(session, "show_messages", 100).splitlines() == lines


def said(text: str, tokens: tuple[int, int, int], model: str = "plain") -> AIMessage:
    """An answer, and what it has used: input, of it from the cache, and output."""
    given, cached, made = tokens
    used = UsageMetadata(
        input_tokens=given, output_tokens=made, total_tokens=given + made, input_token_details={"cache_read": cached}
    )
    return AIMessage(text, usage_metadata=used, response_metadata={"model_name": model} if model else {})


class Wordy(GenericFakeChatModel):
    """Streams its answers and says at the end what was used; or gives them twice."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        answer = next(self.messages)
        assert isinstance(answer, AIMessage)
        for word in answer.text.split():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        told = answer.usage_metadata, answer.response_metadata
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=told[0], response_metadata=told[1]))

    def _generate(self, *args: Any, n: int = 1, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=super()._generate(*args, **kwargs).generations * n)


def ask(form: Form, model: Any, session: Session, phase: str | None = None, way: str = "invoke", **options: Any) -> Any:
    """Call a model with the session's handler."""
    config: RunnableConfig = {"callbacks": [session.usage_handler(phase)]}
    if way != "stream":
        return form.do(model, way, ["one", "two"] if way == "batch" else "one", config, **options)
    if form.loop is None:
        return list(model.stream("one", config))

    async def pieces() -> list[Any]:
        return [piece async for piece in model.astream("one", config)]

    return form.loop.run_until_complete(pieces())


def untimed(session: Session, by: str = "by_phase") -> dict[str, Usage]:
    """The sums without the seconds, which were measured."""
    found: dict[str, Usage] = getattr(session.metrics, by)
    assert all(0 <= usage.seconds < 60 for usage in found.values())
    return {name: usage._replace(seconds=0) for name, usage in found.items()}


@pytest.mark.parametrize("way", ["invoke", "stream", "batch"])
def test_the_handler_records_each_call(manager_on: Callable[..., SessionManager], form: Form, way: str) -> None:
    session = form.do(manager_on(prices=PRICES), "create_session")
    answers = [said("a b c", (100, 40, 7), "cheap-cache"), said("d", (10, 0, 1), "cheap-cache")]
    ask(form, Wordy(messages=iter(answers)), session, "talk", way)
    expected = Usage(2, 110, 8, 40, 0, 0.00024) if way == "batch" else Usage(1, 100, 7, 40, 0, 0.00021)
    assert (untimed(session), untimed(session, "by_model")) == ({"talk": expected}, {"cheap-cache": expected})


def test_several_answers_of_one_call_say_once_what_it_used(session: Session, form: Form) -> None:
    ask(form, Wordy(messages=iter([said("a", (100, 40, 7), "m")])), session, n=3)
    assert untimed(session, "by_model") == {"m": Usage(1, 100, 7, 40)}


def test_a_model_that_says_nothing_of_its_use_is_a_call(session: Session, form: Form) -> None:
    ask(form, GenericFakeChatModel(messages=iter(["a"])), session)
    ask(form, GenericFakeChatModel(messages=iter(["a b"])), session, way="stream")
    ask(form, GenericFakeChatModel(messages=iter([AIMessage("c", response_metadata={"model": "named"})])), session)
    ask(form, FakeListLLM(responses=["words"]), session, "words")
    assert untimed(session) == {"chat": Usage(3), "words": Usage(1)}
    assert untimed(session, "by_model")["named"] == Usage(1)


def test_a_call_that_fails_is_not_recorded(session: Session, form: Form) -> None:
    with pytest.raises(IndexError):
        ask(form, FakeListChatModel(responses=[]), session)
    with pytest.raises(FakeListChatModelError):
        ask(form, FakeListChatModel(responses=["ab"], error_on_chunk_number=1), session, way="stream")
    assert form.do(session, "usage") == Usage()


def test_usage_that_cannot_be_recorded_does_not_disturb_the_call(
    manager: SessionManager, form: Form, caplog: pytest.LogCaptureFixture
) -> None:
    session = form.do(manager, "create_session")
    form.do(manager, "delete_session", session.id)
    assert ask(form, GenericFakeChatModel(messages=iter(["a"])), session).text == "a"
    assert "SessionDeleted" in caplog.text


class State(TypedDict):
    said: Annotated[list[str], operator.add]


def test_in_a_graph_the_phase_is_the_node(manager: SessionManager, form: Form) -> None:
    model = GenericFakeChatModel(messages=iter([said("a", (number, 0, 1), "") for number in (1, 2, 4, 8)]))
    node: Any = RunnableLambda(lambda state: "x") | model | (lambda answer: {"said": [answer.text]})
    builder: Any = StateGraph(State)
    builder.add_node("plan", node).add_node("act", node).add_edge(START, "plan").add_edge("plan", "act")
    graph = builder.compile(checkpointer=manager.checkpointer)
    session = form.do(manager, "create_session")
    for phase in (None, "all"):
        form.do(graph, "invoke", {"said": []}, {**session.config, "callbacks": [session.usage_handler(phase)]})
    assert untimed(session) == {"plan": Usage(1, 1, 1), "act": Usage(1, 2, 1), "all": Usage(2, 12, 2)}
    assert "Calls: 4" in form.do(session, "status")
