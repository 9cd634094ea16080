"""Nothing that a caller says is more than it says: labels, keys and filters are text, and reach what they name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from support.places import every_place, two_places
from support.sittings import Form
from support.store_model import Model, Namespace, answers

from langgraph_sessionstore import SESSION_NAMESPACE, Backend, ConfigurationError, SessionManager, codec, keys, run
from langgraph_sessionstore.ops import Put, must

pytestmark = pytest.mark.long

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


def listing(kind: Any, path: Namespace) -> ListNamespacesOp:
    return ListNamespacesOp((MatchCondition(kind, path),), limit=1000)


@every_place
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


@every_place
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


@every_place
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


@two_places
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


@every_place
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


@every_place
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


@two_places
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
