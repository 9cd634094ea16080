"""Nothing that a caller says is more than it says: labels, keys and filters are text, and reach what they name."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from support.sittings import Form

from langgraph_sessionstore import (
    SESSION_NAMESPACE,
    Backend,
    ConfigurationError,
    SessionManager,
    SessionStore,
    codec,
    keys,
    run,
)
from langgraph_sessionstore.adapters import store as clock
from langgraph_sessionstore.backends.base import Answer
from langgraph_sessionstore.ops import Call, Forget, Put, must
from langgraph_sessionstore.testing import FaultyBackend, check_partition, check_registry

Namespace = tuple[str, ...]

ODD = [
    *("foo", "foobar", "fo", "foo ", " foo", "Foo", "foo_", "foo%", "%", "_", "f%", "f_o", "f*", "*", "**", "?", "f?o"),
    *("[f]oo", "[a-z]*", "foo\\", "\\", "\\%", "foo:", "foo:sub", ":", "foo|bar", "foo/sub", "{foo}", "}{", "foo}"),
    *("'", '"', "fo'o", 'fo"o', "foo'--", "') OR 1=1 --", "x}) | (@prefix:{*", "@prefix:{foo*}", "-foo", "~foo", "$"),
    *(
        "\u2400",
        "\\0",
        "%00",
        "foo\x01",
        "foo\x02",
        "\x7f",
        "\n",
        "\ud800",
        "\U0001f98a",
        "\U0001f98a\ufe0f",
        "fo\u0301",
    ),
    *(
        "$foo",
        "#a0",
        "0",
        "null",
        "store",
        "session",
        "registry",
        "cache",
        "x",
        "__session",
        "foo,sub",
        "('foo',)",
        "{",
    ),
]
"""Labels and keys with which others were confused: wildcards, separators, quotes, parts of queries, closing bytes."""


class Model(InMemoryStore):
    """LangGraph's own in-memory store, which forgets namespaces without items."""

    def read(self, op: Any) -> Any:
        """What one operation reads."""
        self.tidy()
        return self.batch([op])[0]

    def tidy(self) -> None:
        for namespace in [namespace for namespace, items in self._data.items() if not items]:
            del self._data[namespace]

    def answer(self, ops: Sequence[Any]) -> list[Any]:
        """What a batch has to answer: what was there before it, in the order of namespaces and keys."""
        results: list[Any] = []
        for op in ops:
            if isinstance(op, SearchOp):
                everything = [shown(item) for item in self.read(op._replace(limit=10_000, offset=0))]
                results.append(sorted(everything, key=lambda each: each[:2])[op.offset : op.offset + op.limit])
            elif isinstance(op, GetOp):
                item = self.read(op)
                results.append(item and shown(item))
            else:
                results.append(None if isinstance(op, PutOp) else self.read(op))
        self.batch([op for op in ops if isinstance(op, PutOp)])
        self.tidy()
        return results


def shown(item: Any) -> tuple[Namespace, str, Any]:
    """What an item says, without the times."""
    return item.namespace, item.key, item.value


def answers(ops: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """What a store has answered, in the form of `Model.answer`."""
    return [
        [shown(item) for item in result]
        if isinstance(op, SearchOp)
        else shown(result)
        if isinstance(op, GetOp) and result is not None
        else result
        for op, result in zip(ops, results, strict=True)
    ]


def listing(kind: Any, path: Namespace) -> ListNamespacesOp:
    return ListNamespacesOp((MatchCondition(kind, path),), limit=1000)


def test_every_label_is_literal(manager: SessionManager, form: Form) -> None:
    store, model = manager.store, Model()
    puts: list[Any] = [
        PutOp(ns, "k", {"ns": list(ns)}) for label in ODD for ns in ((label,), ("n", label), (label, "n"))
    ]
    assert form.do(store, "batch", puts) == model.answer(puts)
    reads: list[Any] = [ListNamespacesOp(limit=1000), SearchOp((), limit=1000)]
    for label in ODD:
        reads += [GetOp((label,), "k"), GetOp((label, "n", "n"), "k"), GetOp((label,), "k%")]
        reads += [SearchOp(path, limit=1000) for path in ((label,), ("n", label), (label, label))]
        reads += [listing("prefix", path) for path in ((label,), ("n", label))]
        reads += [listing("suffix", path) for path in ((label,), (label, "n"))]
    for op, is_, right in zip(reads, answers(reads, form.do(store, "batch", reads)), model.answer(reads), strict=True):
        assert is_ == right, op
    for doomed in (ODD[::2], ODD[1::2]):
        deletes = [PutOp((label,), "k", None) for label in doomed]
        assert form.do(store, "batch", deletes) == model.answer(deletes)
        assert form.do(store, "list_namespaces", limit=1000) == model.read(ListNamespacesOp(limit=1000))
    assert [item.namespace for item in form.do(store, "search", ("foo",))] == [("foo", "n")]


def test_every_key_is_literal(manager: SessionManager, form: Form) -> None:
    store, model, odd = manager.store, Model(), [*ODD, "", ".", "a.b", "\0", "foo\0", "foo\0bar", "k" * 3000]
    puts: list[Any] = [PutOp(("n",), key, {"key": key}) for key in odd]
    reads: list[Any] = [*(GetOp(("n",), key) for key in odd), SearchOp(("n",), limit=1000), GetOp(("n",), "fooba")]
    deletes: list[Any] = [PutOp(("n",), key, None) for key in odd[::2]]
    for ops in (puts, reads, deletes, reads):
        assert answers(ops, form.do(store, "batch", ops)) == model.answer(ops)
    for key in odd[1::2]:
        form.do(store, "delete", ("n",), key)
    assert form.do(store, "list_namespaces") == []


WORDS: list[Any] = [
    *("x", "' OR '1'='1", "x' OR 1=1 --", '" OR ""="', "%", "_", "*", "x}) | (@owner:{*", "a|b", "[-inf +inf]", "$.n"),
    *("'; DROP TABLE rows; --", "x' UNION SELECT value FROM rows --", "\\", "(", "", None, 0, 1, True, [], {}, ["*"]),
]
FIELDS = [
    *("owner", "x') OR '1'='1", "owner') = 'x' OR 1=1 --", "x' IS NULL OR '1'='1' --", "owner'", 'owner"', "$.owner"),
    *("$", "*", "deep.part", "deep->part", "deep[0]", "deep.*", "'; DROP TABLE rows; --", "@owner", "@owner:{*}"),
    *("x}) | (@owner:{*", "*=>[KNN 9 @v $q]", "value", "key", "prefix", "namespace", "__class__", "", "\0", "\ud800"),
]
OPERATORS = ["$or", "$in", "$where", "$regex", "$", "$EQ", "$eq ", "$gt) OR 1=1 --", "$eq' OR '1'='1", "$.owner"]


def test_a_filter_is_no_query(manager: SessionManager, form: Form) -> None:
    store, model = manager.store, Model()
    value = {"owner": "a", "n": 1, "deep": {"part": ["x", "*"]}, "text": "a|b"}
    puts: list[Any] = [PutOp(("of", "a"), "k", value), PutOp(("of", "a"), "odd", dict.fromkeys(FIELDS, "x"))]
    puts += [PutOp(ns, "secret", {**value, "owner": "b"}) for ns in (("of", "ab"), ("of",), ("of", "b"), ("%",))]
    assert form.do(store, "batch", puts) == model.answer(puts)
    wanted = [{field: word} for field in FIELDS for word in WORDS]
    wanted += [{field: {operator: word}} for field in FIELDS for operator in ("$eq", "$ne") for word in WORDS[::4]]
    wanted += [{"deep": {field: "x"}} for field in FIELDS if not field.startswith("$")]
    searches: list[Any] = [SearchOp(("of", "a"), filter=each, limit=100) for each in wanted]
    found = answers(searches, form.do(store, "batch", searches))
    for op, is_, right in zip(searches, found, model.answer(searches), strict=True):
        assert is_ == right, op
        assert all(namespace == ("of", "a") for namespace, _, _ in is_), op
    for operator in OPERATORS:
        with pytest.raises(ConfigurationError, match="a filter knows"):
            form.do(store, "search", ("of", "a"), filter={"owner": {operator: "a"}})
        with pytest.raises(ConfigurationError, match="a filter knows"):
            form.do(store, "search", ("of", "a"), filter={"deep": {"part": {"$eq": 1, operator: "a"}}})
    queries: list[Any] = [SearchOp(("of", "a"), query=word) for word in WORDS if isinstance(word, str)]
    assert {len(result) for result in form.do(store, "batch", queries)} == {2}
    everything = [SearchOp((), limit=100)]
    assert answers(everything, form.do(store, "batch", everything)) == model.answer(everything)


def test_what_has_no_order_is_neither_greater_nor_less(manager: SessionManager, form: Form) -> None:
    store = manager.store
    odd: list[Any] = [None, "x", "", [], {}, [1], float("nan"), 10**400, b"x"]
    form.do(store, "batch", [PutOp(("n",), f"{at}", {"n": each}) for at, each in enumerate(odd)])
    form.do(store, "batch", [PutOp(("n",), "none", {}), PutOp(("n",), "text", {"n": " 7 "})])
    for operator, keys_found in (("$gt", ["text"]), ("$gte", ["text"]), ("$lt", []), ("$lte", [])):
        assert [item.key for item in form.do(store, "search", ("n",), filter={"n": {operator: 5}})] == keys_found
    for operator in ("$gt", "$gte", "$lt", "$lte"):
        for word in (*WORDS[1:4], None, [], {}):
            with pytest.raises(ConfigurationError, match="number"):
                form.do(store, "search", ("n",), filter={"n": {operator: word}})


def test_no_namespace_reaches_what_else_is_stored(manager: SessionManager, form: Form) -> None:
    form.do(manager, "create_session", "s", messages=["a"])
    cache, store, notes = manager.cache, manager.store, (SESSION_NAMESPACE, "s")
    form.do(store, "put", notes, "k", {"of": "session"})
    near: list[Namespace] = [
        ("session", "s"),
        ("registry", "store"),
        ("registry", "session"),
        ("cache", "a"),
        ("store", "a"),
    ]
    near += [("a",), ("__session", "s"), (SESSION_NAMESPACE + " ", "s"), ("x",), ("s",)]
    form.do(cache, "set", {(namespace, "k"): (["cached", *namespace], None) for namespace in near})
    form.do(store, "batch", [PutOp(namespace, "k", {"of": list(namespace)}) for namespace in near])
    assert form.do(store, "list_namespaces") == sorted(near)
    assert len(form.do(store, "search", (), limit=100)) == len(near)
    assert [item.value for item in form.do(store, "search", notes)] == [{"of": "session"}]
    assert form.do(store, "list_namespaces", prefix=notes) == [notes]
    assert form.do(store, "search", (SESSION_NAMESPACE, "s%")) == []
    assert form.do(store, "search", (SESSION_NAMESPACE, "*")) == []
    form.do(cache, "clear", [("a",)])
    left = form.do(cache, "get", [(namespace, "k") for namespace in near])
    assert left == {(namespace, "k"): ["cached", *namespace] for namespace in near if namespace != ("a",)}
    form.do(cache, "clear")
    assert [item.value["of"] for item in form.do(store, "search", (), limit=100)] == [list(ns) for ns in sorted(near)]
    form.do(store, "batch", [PutOp(namespace, "k", None) for namespace in near])
    assert form.do(store, "search", ()) == []
    assert form.texts(form.do(manager, "get_session", "s")) == ["a"]
    assert form.do(store, "get", notes, "k").value == {"of": "session"}


# -- the whole contract, beside LangGraph's own in-memory store

LABELS = ["a", "ab", "b", "%", "*", "a:b", "'"]
paths = st.lists(st.sampled_from(LABELS), max_size=3).map(tuple)
namespaces = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).map(tuple)
names = st.sampled_from(["k", "kl", "", "a.b", "\0", "\U0001f98a"])
numbers = st.sampled_from([0, 1, 2, -1, 0.5, 2.0, True, False, "1", float("inf"), 2**53 + 1, -(2**63), 2**64 - 1])
plain = st.none() | numbers | st.sampled_from(["x", "y", "", "\ud800", b"x"]) | st.text(max_size=3)
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["part", "n", "a.b", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
values = st.fixed_dictionaries({"n": numbers}, optional={"kind": plain, "deep": anything, "a.b": anything, "": plain})
orders = st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers, min_size=1, max_size=2)
equals = st.dictionaries(st.sampled_from(["$eq", "$ne"]), anything, min_size=1, max_size=2)
nested = st.dictionaries(st.sampled_from(["part", "n", "a.b"]), anything | equals, max_size=2)
filters = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "n": numbers | orders | equals,
        "kind": plain | equals,
        "deep": anything | equals | nested | st.lists(plain | equals, max_size=2),
        "a.b": anything,
        "missing": plain | equals,
    },
)
limits, offsets = st.sampled_from([0, 1, 2, 3, 10, 100]), st.sampled_from([0, 0, 0, 1, 2, 5])
matches = st.builds(
    MatchCondition,
    st.sampled_from(["prefix", "suffix"]),
    st.lists(st.sampled_from(LABELS), max_size=2).map(tuple),
)
operations = st.one_of(
    st.builds(lambda ns, key, value: PutOp(ns, key, value), namespaces, names, values),
    st.builds(lambda ns, key, value: PutOp(ns, key, value), namespaces, names, st.none() | values),
    st.builds(lambda ns, key: GetOp(ns, key), namespaces, names),
    st.builds(lambda ns, *given: SearchOp(ns, *given), paths, filters, limits, offsets),
    st.builds(
        lambda *given: ListNamespacesOp(*given),
        st.none() | st.lists(matches, max_size=3).map(tuple),
        st.none() | st.integers(1, 4),
        limits,
        offsets,
    ),
)
batches = st.lists(st.lists(operations, max_size=8), min_size=1, max_size=8)
EXAMPLES = {"memory": 200, "file": 10, "redis7": 10, "cluster": 4}


def test_it_answers_every_batch_as_the_in_memory_store_does(
    kind: str, manager_on: Callable[..., SessionManager], storage: Callable[[], Backend], form: Form
) -> None:
    store, backend = manager_on().store, storage()

    @settings(max_examples=EXAMPLES[kind], deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(batches)
    def check(given: list[list[Any]]) -> None:
        wipe(store, form)
        model = Model()
        for ops in given:
            right, is_ = model.answer(ops), answers(ops, form.do(store, "batch", ops))
            for op, wanted, found in zip(ops, right, is_, strict=True):
                assert same(found, wanted), op
        items = form.do(store, "search", (), limit=10_000)
        assert same([shown(item) for item in items], model.answer([SearchOp((), limit=10_000)])[0])
        assert all(item.created_at <= item.updated_at for item in items)
        wipe(store, form)

    check()
    assert run(backend, check_registry(keys.registry("store"))) == []
    for label in LABELS:
        assert run(backend, check_partition(keys.encode("store", label))) == []


def wipe(store: SessionStore, form: Form) -> None:
    """Delete all items."""
    items = form.do(store, "search", (), limit=10_000)
    form.do(store, "batch", [PutOp(item.namespace, item.key, None) for item in items])
    assert form.do(store, "search", ()) == [] == form.do(store, "list_namespaces")


def same(found: Any, wanted: Any) -> bool:
    """Whether these are equal, and of the same types."""
    if isinstance(wanted, dict):
        return (
            type(found) is dict
            and list(found) == list(wanted)
            and all(same(found[key], part) for key, part in wanted.items())
        )
    if isinstance(wanted, (list, tuple)):
        return type(found) is type(wanted) and len(found) == len(wanted) and all(map(same, found, wanted))
    return type(found) is type(wanted) and bool(found == wanted)


# -- two workers

ROUNDS = 25


def sides(
    manager_on: Callable[..., SessionManager], form: Form, acts: Sequence[Callable[[SessionStore, int], Any]]
) -> None:
    """Do one act for each worker at the same moment, again and again: in threads, or in tasks of one loop."""
    stores = [manager_on().store for _ in acts]
    if form.loop is not None:

        async def together() -> None:
            for turn in range(ROUNDS):
                await asyncio.gather(*[act(store, turn) for act, store in zip(acts, stores, strict=True)])

        form.loop.run_until_complete(together())
        return
    barrier = Barrier(len(acts))

    def work(act: Callable[[SessionStore, int], Any], store: SessionStore) -> None:
        for turn in range(ROUNDS):
            barrier.wait(30)
            act(store, turn)

    with ThreadPoolExecutor(len(acts)) as pool:
        list(pool.map(work, acts, stores))


def putting(by: int, form: Form) -> Callable[[SessionStore, int], Any]:
    def act(store: SessionStore, turn: int) -> Any:
        value = {"by": by, "text": f"{by}" * 300}
        name = "put" if form.loop is None else "aput"
        return getattr(store, name)(("n", f"{turn}"), "k", value)

    return act


def deleting(form: Form) -> Callable[[SessionStore, int], Any]:
    def act(store: SessionStore, turn: int) -> Any:
        name = "delete" if form.loop is None else "adelete"
        return getattr(store, name)(("n", f"{turn}"), "k")

    return act


def left_over(manager_on: Callable[..., SessionManager], form: Form) -> list[Any]:
    """The items that are there, after each has been found whole and its namespace, and no other, has been listed."""
    store = manager_on().store
    items = form.do(store, "batch", [GetOp(("n", f"{turn}"), "k") for turn in range(ROUNDS)])
    there = [item for item in items if item is not None]
    assert all(item.value == {"by": item.value["by"], "text": f"{item.value['by']}" * 300} for item in there)
    assert form.do(store, "list_namespaces", limit=1000) == sorted(item.namespace for item in there)
    assert sorted(item.namespace for item in form.do(store, "search", (), limit=1000)) == sorted(
        item.namespace for item in there
    )
    return there


def test_two_puts_at_once_leave_one_of_the_values(manager_on: Callable[..., SessionManager], form: Form) -> None:
    sides(manager_on, form, [putting(1, form), putting(2, form)])
    assert len(left_over(manager_on, form)) == ROUNDS


def test_two_puts_at_once_leave_times_in_their_order(manager_on: Callable[..., SessionManager], form: Form) -> None:
    sides(manager_on, form, [putting(1, form), putting(2, form)])
    for item in left_over(manager_on, form):
        assert item.created_at <= item.updated_at


def test_times_are_in_their_order_when_clocks_are_not(
    manager_on: Callable[..., SessionManager], form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, behind, now = manager_on().store, manager_on().store, clock._now
    form.do(ahead, "put", ("n",), "k", {"v": 1})
    monkeypatch.setattr(clock, "_now", lambda: now() - 3_600_000_000)
    form.do(behind, "put", ("n",), "k", {"v": 2})
    for item in (form.do(ahead, "get", ("n",), "k"), *form.do(ahead, "search", ("n",))):
        assert item.value == {"v": 2}
        assert item.created_at <= item.updated_at


def test_a_put_beside_a_delete_leaves_the_item_or_nothing(
    manager_on: Callable[..., SessionManager], form: Form
) -> None:
    for prepared in (False, True):
        if prepared:
            form.do(manager_on().store, "batch", [PutOp(("n", f"{turn}"), "k", {"v": 0}) for turn in range(ROUNDS)])
        sides(manager_on, form, [putting(1, form), deleting(form), deleting(form)])
        left_over(manager_on, form)


class Slow(FaultyBackend):
    """Lets others act right before and right after a line is taken from the list."""

    def __init__(self, inner: Backend, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        super().__init__(inner, {})
        self.before, self.after = before, after

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        forgets = any(isinstance(op, Forget) for call in calls for op in call.batch.ops)
        if forgets:
            self.before()
        answers = self.inner.execute(calls, ordered=ordered)
        if forgets:
            self.after()
        return answers


def test_what_was_put_is_listed_while_somebody_takes_the_empty_namespace_away(
    storage: Callable[[], Backend],
) -> None:
    other, seen = SessionStore(storage()), list[Any]()

    def before() -> None:
        time.sleep(0.002)  # in the same millisecond it is listed again a moment later
        other.put(("n", "m"), "new", {})

    store = SessionStore(Slow(storage(), before, lambda: seen.extend([*other.list_namespaces(), *other.search(())])))
    store.put(("n", "m"), "old", {})
    store.delete(("n", "m"), "old")
    assert other.list_namespaces() == [("n", "m")]
    assert [item.key for item in other.search(("n",))] == ["new"]
    assert seen[:1] == [("n", "m")]
    assert [item.key for item in seen[1:]] == ["new"]


# -- the cache


def test_every_namespace_of_a_cache_is_literal(manager_on: Callable[..., SessionManager], form: Form) -> None:
    cache, other = manager_on().cache, manager_on().cache
    odd = [*ODD, "", ".", "a.b", "\0", "foo\0bar"]
    given = {
        (ns, key): ((ns, key), None)
        for label in odd
        for ns, key in (((label,), "k"), (("n",), label), (("n", label), ""))
    }
    form.do(cache, "set", {**given, ((), "k"): (((), "k"), 600)})
    wanted = {address: address for address in [*given, ((), "k")]}
    absent = [(("foo", "k"), "k"), (("n", "foo"), "foo"), (("fo", "o"), "k"), ((), "foo"), ((), "")]
    assert form.do(other, "get", [*wanted, *absent]) == wanted
    for namespaces in ([("%",)], [("*",)], [("foo",), ("?",)], [()], [("n",)]):
        form.do(other, "clear", namespaces)
        wanted = {address: value for address, value in wanted.items() if address[0] not in namespaces}
        assert form.do(cache, "get", [*given, ((), "k")]) == wanted


class Boom:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return boom, ()


ran: list[str] = []


def boom() -> str:
    ran.append("boom")
    return "boom"


CALL = b'{"lc": 2, "type": "constructor", "id": ["builtins", "print"], "args": ["boom"], "kwargs": {}}'


@pytest.mark.parametrize("tag", ["pickle", "json", "msgpack", "data", "bytearray ", "", "\0", "cloudpickle"])
def test_nothing_that_lies_in_a_cache_or_a_store_is_run(
    tag: str, manager: SessionManager, storage: Callable[[], Backend], form: Form, capsys: pytest.CaptureFixture[str]
) -> None:
    payloads = [pickle.dumps(Boom(), protocol) for protocol in (0, 2, 5)]
    payloads += [CALL, b"\x01\xc7\x20\x63" + payloads[2][:32].ljust(32), b"", b"\x01"]
    form.do(manager.cache, "set", {(("n",), "good"): (1, None)})
    form.do(manager.store, "put", ("n",), "good", {"v": 1})
    rows = [codec.pack([at, codec.pack([tag, payload])]) for payload in payloads for at in (0, 1 << 50)]
    rows += [codec.pack([0, payload]) for payload in payloads] + [codec.pack([tag, payload]) for payload in payloads]
    cached = [Put(keys.encode(0, f"bad {at}"), row) for at, row in enumerate([*payloads, *rows])]
    stored = [Put(keys.encode(0, 0, "bad"), rows[0]), Put(keys.encode(1, 0, "bad"), codec.pack(1))]
    run(storage(), must(keys.encode("cache", "n"), *cached))
    run(storage(), must(keys.encode("store", "n"), *stored))
    addresses = [(("n",), f"bad {at}") for at in range(len(cached))]
    assert form.do(manager.cache, "get", [*addresses, (("n",), "good")]) == {(("n",), "good"): 1}
    with pytest.raises(Exception, match=r"damaged|cannot|not|holds"):
        form.do(manager.store, "get", ("n",), "bad")
    assert form.do(manager.store, "get", ("n",), "good").value == {"v": 1}
    assert ran == []
    assert capsys.readouterr().out == ""
