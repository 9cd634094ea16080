"""Every backend does to any sequence of batches what the memory backend does: the same replies, the same rows."""

import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from langgraph_sessionstore import Backend, EncryptedBackend, SessionStoreError, keys, open_backend, run
from langgraph_sessionstore.ops import (
    Add,
    Append,
    Batch,
    Call,
    Calls,
    Count,
    Delete,
    DeleteRange,
    Drop,
    Expect,
    ExpectEmpty,
    ExpectLease,
    Expire,
    Forget,
    Get,
    Lease,
    Links,
    Op,
    Page,
    Put,
    PutNew,
    Range,
    Run,
    Tally,
    Touch,
    etag,
    must,
    with_links,
)
from langgraph_sessionstore.testing import check_partition

pytestmark = pytest.mark.long

LATER = 9_000_000_000_000
ROWS = [keys.encode(*row) for row in [("a",), ("a", "b"), ("a", 1), ("ab",), ("b",), ("\0",)]]
COUNTERS = [keys.encode("n"), keys.encode("log")]
NAMES = [keys.encode(*name) for name in [("s", "1"), ("s", "12"), ("s", "1", "2"), ("t",)]]
RUNS = [keys.encode(run) for run in ("r", "r2")]
SPANS = [keys.within("a"), keys.below("a"), keys.below("log"), (b"", b"\xfe"), (ROWS[4], ROWS[3])]
OWNERS = [COUNTERS[1], ROWS[0], ROWS[4]]  # those that records are appended to

row = st.sampled_from(ROWS)
numbers = st.integers(0, 5) | st.integers(0, 40)
pieces = st.builds(lambda owner, ends: Run(owner, *sorted(ends)), st.sampled_from(OWNERS), st.tuples(numbers, numbers))
links = st.builds(
    Links,
    st.lists(st.sampled_from([*OWNERS, ROWS[2], b"", b"\x02", b"$", b"none"]), max_size=2).map(tuple),
    st.lists(pieces, max_size=4).map(tuple),
)
plain = st.sampled_from([b"", b"1", b"two", b"\0\xff", b"\xc1\0\0\0\x09"])
value = plain | st.builds(with_links, links, st.just(b"head"))
known = st.just(()) | st.lists(pieces, max_size=3).map(tuple)
span = st.sampled_from(SPANS)
ends = span | st.just((ROWS[1], None))
ops: st.SearchStrategy[Op] = st.one_of(
    st.builds(Get, row | st.sampled_from(COUNTERS)),
    st.builds(
        lambda ends, limit, offset, reverse, follow: Range(ends[0], ends[1], limit, offset, reverse, follow),
        ends, st.none() | st.integers(0, 12), st.integers(0, 3), st.booleans(), st.booleans(),
    ),
    st.builds(
        lambda ends, limit, known: Range(ends[0], ends[1], limit, follow=True, known=known),
        ends, st.none() | st.integers(0, 12), known,
    ),
    st.builds(lambda ends: Count(*ends), ends),
    st.builds(Put, row, value),
    st.builds(PutNew, row, value),
    st.builds(Delete, row | st.sampled_from(COUNTERS)),
    st.builds(lambda ends: DeleteRange(*ends), ends),
    st.builds(Append, st.just(COUNTERS[1]) | row, value),
    st.builds(Add, st.just(COUNTERS[0]) | row, st.sampled_from([0, 1, -3, 2**53 - 2])),
    st.builds(Drop),
    st.builds(Expire, st.sampled_from([None, 1, LATER]), st.none()),
    st.builds(Expect, row, st.booleans() | value.map(etag)),
    st.builds(lambda ends: ExpectEmpty(*ends), ends),
    st.builds(ExpectLease, st.sampled_from([b"", b"me", b"you"])),
    st.builds(Lease, st.sampled_from([b"me", b"you"]), st.sampled_from([0, LATER])),
)  # fmt: skip
name = st.sampled_from(NAMES)
after = st.sampled_from([b"", b"n" + NAMES[1], b"c%012x" % (10**12 + 5), b"a%012x" % (10**12 + 5), b"\xff", b"m"])
registry_ops: st.SearchStrategy[Op] = st.one_of(
    st.builds(
        Touch, name, st.integers(10**12, 10**12 + 9), st.sampled_from([None, 0, 5, LATER]), st.none(),
        st.sampled_from([(), tuple(RUNS), (RUNS[1],)]), st.booleans(),
    ),
    st.builds(Forget, name, st.none() | st.integers(10**12, 10**12 + 9)),
    st.builds(
        Page, st.sampled_from(["created", "active", "name"]), st.just(b""), after, st.integers(1, 5), st.booleans(),
    ),
    st.builds(Page, st.just("run"), st.sampled_from(RUNS), st.just(b""), st.integers(1, 5), st.booleans()),
    st.builds(Page, st.just("name"), st.sampled_from([NAMES[0], keys.encode("s")]), after, st.just(3), st.booleans()),
    st.builds(Tally, st.sampled_from([b"", NAMES[0], keys.encode("s")])),
)  # fmt: skip
partitions = st.sampled_from(["p", "q"])
steps = st.one_of(
    st.tuples(st.just("batch"), partitions, st.lists(ops, max_size=5), st.booleans()),
    st.tuples(st.just("batch"), st.just("registry"), st.lists(registry_ops, min_size=1, max_size=5), st.booleans()),
    st.tuples(st.just("copy"), partitions, st.lists(ops, max_size=2), st.booleans()),
)


@pytest.fixture(scope="module", params=["filesystem", "redis62", "redis7", "cluster", "encrypted"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "filesystem":
        with tempfile.TemporaryDirectory() as directory, open_backend(directory) as opened:
            yield opened
    elif request.param == "encrypted":
        with EncryptedBackend(open_backend("memory:"), b"0123456789abcdef" * 2, counted=[*ROWS, COUNTERS[1]]) as opened:
            yield opened
    else:
        with open_backend(request.getfixturevalue(request.param).url) as opened:
            yield opened


PHASES = [phase for phase in Phase if phase is not Phase.explain]  # it traces every line, far too slowly


@settings(max_examples=60, phases=PHASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=2, max_size=12))
def test_every_backend_does_what_the_model_does(backend: Backend, script: list[Any]) -> None:
    home = str(uuid.uuid4())
    names = {part: keys.encode(home, part) for part in ("p", "q")} | {"registry": keys.registry(home)}
    other = {"p": names["q"], "q": names["p"]}
    with open_backend("memory:") as model:
        for kind, part, batch_ops, once in script:
            try:
                # the same batch has the same id, so that it replays when it comes again
                batch = Batch(*batch_ops, op_id=etag(repr((kind, batch_ops)).encode()).encode() if once else None)
            except ValueError:
                continue  # a batch that no backend gets to see
            partition, source = (other[part], names[part]) if kind == "copy" else (names[part], None)
            request = Calls([Call(partition, batch, source)])
            assert result(backend, request) == result(model, request), request
            for partition in names.values():
                assert everything(backend, partition) == everything(model, partition), request
        for partition in names.values():
            assert run(backend, check_partition(partition)) == []


def result(backend: Backend, request: Calls) -> Any:
    """The outcome, or the kind of error; moments that the clock gave are hidden."""

    def plan() -> Any:
        return (yield request)[0]

    try:
        outcome = run(backend, plan())
    except (SessionStoreError, ValueError) as exc:
        return type(exc)
    if not isinstance(outcome, list):
        return outcome
    ops = request.calls[0].batch.ops
    return [None if isinstance(op, Lease) else reply for op, reply in zip(ops, outcome, strict=True)]


def everything(backend: Backend, partition: bytes) -> Any:
    """All rows, and whether there are the rows that ranges do not see."""
    reads = (Range(b"", None), Get(keys.INCARNATION), Get(keys.LEASE))
    rows, incarnation, lease = run(backend, must(partition, *reads))
    return rows, incarnation is not None, (lease or b"")[12:]
