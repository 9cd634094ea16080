"""The part of the contract about whole partitions: life, leases, operation ids, copies."""

from __future__ import annotations

import time
import uuid

import pytest

from .. import keys
from ..errors import CorruptData
from ..ops import (
    Add,
    Append,
    Conflict,
    Count,
    Delete,
    DeleteRange,
    Drop,
    Expect,
    ExpectLease,
    Expire,
    Get,
    Lease,
    Op,
    Put,
    PutNew,
    Range,
    etag,
)
from .worker import Worker, eventually


class LifeContract:
    """Life and expiry, leases, operation ids, copies."""

    # -- the life of a partition

    def test_a_partition_has_a_new_incarnation_each_time_it_begins(self, worker: Worker, name: bytes) -> None:
        seen = [worker.do(name, Get(keys.INCARNATION))[0]]
        worker.do(name, Put(b"k", b"1"))
        seen.append(worker.do(name, Get(keys.INCARNATION))[0])
        worker.do(name, Put(b"l", b"1"), Delete(b"k"))
        assert worker.do(name, Get(keys.INCARNATION))[0] == seen[1]
        worker.do(name, Drop())
        seen.append(worker.do(name, Get(keys.INCARNATION))[0])
        worker.do(name, Put(b"k", b"1"))
        worker.do(name, Drop(), Put(b"k", b"2"))
        seen.append(worker.do(name, Get(keys.INCARNATION))[0])
        assert seen[0] is seen[2] is None
        assert seen[1] != seen[3]
        assert len(seen[1]) == len(seen[3]) == 16
        assert worker.rows(name) == {b"k": b"2"}

    def test_ranges_do_not_see_system_rows(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Lease(b"me", 60_000), Put(keys.TOMBSTONE, b""), Append(b"a", b"x"), op_id=b"id")
        assert worker.do(name, Count(b"", None), Range(b"", None, 1), DeleteRange(b"", None)) == [
            2,
            [(b"a", b"1")],
            2,
        ]
        assert worker.do(name, Get(keys.TOMBSTONE), ExpectLease(b"me")) == [b"", None]

    def test_drop_takes_everything(self, worker: Worker, name: bytes) -> None:
        worker.do(name, *[Put(b"%d" % n, b"x") for n in range(100)], Lease(b"me", 60_000), Expire(ttl=60_000))
        assert worker.do(name, Drop(), Range(b"", None), ExpectLease(b"me")) == [None, [], None]
        assert worker.do(name, ExpectLease(b""), Get(keys.INCARNATION), Get(keys.LEASE)) == [None, None, None]
        assert worker.do(name, Drop(), Put(keys.TOMBSTONE, b""), Get(keys.TOMBSTONE)) == [None, None, b""]

    def test_expiry_is_exact_for_every_reader(self, worker: Worker, name: bytes) -> None:
        other = name + keys.encode("other")
        assert worker.do(name, Expire(ttl=1000)) == [None]  # nothing there that could expire
        now = int(time.time() * 1000)
        _, moment = worker.do(name, Put(b"k", b"1"), Expire(ttl=150))
        assert now < moment < now + 60_000
        assert worker.do(name, Put(b"l", b"2"), Get(b"k")) == [None, b"1"]
        old = worker.do(name, Get(keys.INCARNATION))[0]
        eventually(lambda: worker.do(name, Get(b"k")) == [None])
        assert worker.do(name, Range(b"", None), Count(b"", None), Get(keys.INCARNATION)) == [[], 0, None]
        assert worker.do(name, Expect(b"l", True)) == Conflict(0)
        assert worker.copy(name, other) == Conflict(-1)
        assert worker.do(name, Expect(b"l", False), Put(b"k", b"3"), Range(b"", None)) == [None, None, [(b"k", b"3")]]
        assert worker.do(name, Get(keys.INCARNATION))[0] != old

    def test_expiry_can_be_moved_taken_back_and_past(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Put(b"k", b"1"), Expire(ttl=40))
        assert worker.do(name, Expire())[0] is None
        at = int(time.time() * 1000) + 100_000
        assert worker.do(name, Expire(at=at)) == [at]
        assert worker.do(name, Expire(ttl=60)) != [at]
        assert worker.do(name, Expire(at=at)) == [at]
        time.sleep(0.15)
        assert worker.do(name, Get(b"k")) == [b"1"]
        assert worker.do(name, Expire(at=1), Get(b"k"), Put(b"l", b"2")) == [1, None, None]
        assert worker.rows(name) == {b"l": b"2"}

    # -- leases

    def test_a_lease_keeps_others_out_until_it_ends(self, worker: Worker, name: bytes) -> None:
        assert worker.do(name, ExpectLease(b""), Put(b"k", b"0")) == [None, None]
        assert worker.do(name, ExpectLease(b"me")) == Conflict(0)
        assert worker.do(name, Lease(b"me", 60_000))[0] > time.time() * 1000 - 60_000
        assert worker.do(name, Lease(b"you", 60_000)) == Conflict(0)
        assert worker.do(name, Lease(b"you", 0)) == Conflict(0)
        assert worker.do(name, Put(b"k", b"1"), ExpectLease(b"you")) == Conflict(1)
        assert worker.do(name, Put(b"k", b"1"), ExpectLease(b"")) == Conflict(1)
        assert worker.do(name, ExpectLease(b"me"), Put(b"k", b"2"), Lease(b"me", 60_000))[1] is None
        worker.do(name, Lease(b"me", 0))
        assert worker.do(name, ExpectLease(b"me")) == Conflict(0)
        assert worker.do(name, ExpectLease(b""), Lease(b"you", 30), Get(b"k"))[2] == b"2"
        eventually(lambda: worker.do(name, ExpectLease(b"you")) == Conflict(0))
        assert worker.do(name, ExpectLease(b""), Lease(b"me", 60_000))[0] is None

    # -- operation ids

    def test_an_operation_id_applies_once_and_replays(self, worker: Worker, name: bytes) -> None:
        ops = (Append(b"a", b"x"), Get(b"k"), Add(b"n", 5), PutNew(b"p", b"1"), Delete(b"d"), DeleteRange(b"e", b"f"))
        worker.do(name, Put(b"d", b"1"), Put(b"e1", b"1"), Put(b"e2", b"1"))
        first = worker.do(name, *ops, op_id=b"one")
        assert first == [keys.sequence(b"a", 0), None, 5, True, True, 2]
        worker.do(name, Put(b"k", b"now"))
        assert worker.do(name, *ops, op_id=b"one") == [first[0], b"now", *first[2:]]
        assert worker.do(name, *ops, op_id=b"\0two\xff")[0] == keys.sequence(b"a", 1)
        assert worker.do(name, Get(b"n"), Count(*keys.below("a"))) == [b"10", 0]

    def test_an_operation_id_remembers_past_its_own_guards(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Put(b"version", b"1"))
        ops = (Expect(b"version", etag(b"1")), Put(b"version", b"2"), Append(b"a", b"x"))
        key = keys.sequence(b"a", 0)
        assert worker.do(name, *ops, op_id=b"id") == [None, None, key]
        assert worker.do(name, *ops, op_id=b"id") == [None, None, key]
        assert worker.do(name, *ops, op_id=b"another") == Conflict(0)
        assert worker.do(name, Expect(b"version", etag(b"3")), Add(b"n", 1), op_id=b"refused") == Conflict(0)
        worker.do(name, Put(b"version", b"3"))
        assert worker.do(name, Expect(b"version", etag(b"3")), Add(b"n", 1), op_id=b"refused") == [None, 1]

    def test_an_operation_id_holds_when_nothing_is_left(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Put(b"k", b"1"))
        gone = (Expect(b"k", True), Delete(b"k"), Drop())
        assert worker.do(name, *gone, op_id=b"id") == [None, True, None]
        assert worker.do(name, *gone, op_id=b"id") == [None, True, None]
        assert worker.do(name, Get(keys.INCARNATION), Range(b"", None)) == [None, []]
        worker.do(name, Expect(keys.INCARNATION, False), Put(b"k", b"2"))
        assert worker.do(name, Expire()) == [None]
        assert worker.do(name, Get(keys.INCARNATION)) != [None]

    def test_an_operation_id_is_for_one_batch(self, worker: Worker, name: bytes) -> None:
        worker.do(name, Put(b"k", b"1"), op_id=b"id")
        with pytest.raises(CorruptData, match="another batch"):
            worker.do(name, Put(b"k", b"2"), Put(b"l", b"2"), op_id=b"id")
        assert worker.rows(name) == {b"k": b"1"}

    # -- copies

    def test_a_copy_has_the_rows_and_a_life_of_its_own(self, worker: Worker, name: bytes) -> None:
        target = keys.session(str(uuid.uuid4()))
        worker.do(name, Lease(b"me", 60_000), Put(keys.TOMBSTONE, b""), Put(b"k", b"1"), Expire(ttl=60_000))
        worker.do(name, *[Append(b"a", b"%d" % n) for n in range(300)], op_id=b"id")
        rows = worker.rows(name)
        everything, *replies = worker.copy(
            name, target, Range(b"", None), Put(b"new", b"2"), Delete(b"k"), Get(b"a"), Range(b"n", b"o", 50)
        )
        assert (dict(everything), replies) == (rows, [None, True, b"300", [(b"new", b"2")]])
        assert worker.rows(name) == rows
        assert worker.rows(target) == {**{k: v for k, v in rows.items() if k != b"k"}, b"new": b"2"}
        assert worker.do(target, ExpectLease(b""), Expect(keys.TOMBSTONE, False)) == [None, None]
        assert worker.do(target, Append(b"a", b"x"), op_id=b"id") == [keys.sequence(b"a", 300)]
        incarnations = [worker.do(one, Get(keys.INCARNATION))[0] for one in (name, target)]
        assert None not in incarnations
        assert incarnations[0] != incarnations[1]
        worker.do(name, Drop())
        assert worker.do(target, Get(b"new")) == [b"2"]

    def test_a_copy_does_not_expire_with_its_source(self, worker: Worker, name: bytes) -> None:
        target = keys.session(str(uuid.uuid4()))
        worker.do(name, Put(b"k", b"1"), Expire(ttl=80))
        worker.do(target, Put(b"k", b"old"), Expire(ttl=80))
        worker.copy(name, target)
        eventually(lambda: worker.do(name, Get(b"k")) == [None])
        assert worker.do(target, Get(b"k")) == [b"1"]

    def test_the_guards_of_a_copy_see_the_target_before(self, worker: Worker, name: bytes) -> None:
        target = keys.session(str(uuid.uuid4()))
        worker.do(name, Put(b"k", b"1"))
        worker.do(target, Put(b"old", b"2"))
        assert worker.copy(name, target, Expect(keys.INCARNATION, False)) == Conflict(0)
        assert worker.copy(name, target, Put(b"z", b"1"), Expect(b"k", True)) == Conflict(1)
        assert worker.rows(target) == {b"old": b"2"}
        assert worker.copy(name, target, Expect(b"old", True), Put(b"z", b"1")) == [None, None]
        assert worker.rows(target) == {b"k": b"1", b"z": b"1"}

    def test_nothing_cannot_be_copied(self, worker: Worker, name: bytes) -> None:
        target = keys.session(str(uuid.uuid4()))
        worker.do(target, Put(b"old", b"2"))
        assert worker.copy(name, target, Put(b"z", b"1")) == Conflict(-1)
        worker.do(name, Put(keys.TOMBSTONE, b""))
        assert worker.copy(name, target, Put(b"z", b"1")) == Conflict(-1)
        assert worker.rows(target) == {b"old": b"2"}

    def test_a_copy_with_an_operation_id_happens_once(self, worker: Worker, name: bytes) -> None:
        target = keys.session(str(uuid.uuid4()))
        worker.do(name, Put(b"k", b"1"))
        ops = (Expect(keys.INCARNATION, False), PutNew(b"z", b"1"))
        assert worker.copy(name, target, *ops, op_id=b"id") == [None, True]
        worker.do(name, Put(b"k", b"2"))
        assert worker.copy(name, target, *ops, op_id=b"id") == [None, True]
        assert worker.rows(target) == {b"k": b"1", b"z": b"1"}

    @pytest.mark.parametrize("ops", [(Append(b"a", b"x"),), (Add(b"n", 1),)])
    def test_what_a_copy_cannot_do_is_refused(self, worker: Worker, name: bytes, ops: tuple[Op, ...]) -> None:
        with pytest.raises(ValueError, match="cannot"):
            worker.copy(name, keys.session("x"), *ops)
        with pytest.raises(ValueError, match="itself"):
            worker.copy(name, name)
        worker.touched.discard(keys.session("x"))
