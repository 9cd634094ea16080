"""Any backend, with all values encrypted: what the storage gets to see is sealed, what comes back is opened.

    seals         how a value is sealed and bound to its place
    translating   calls and their replies     resealing   from plain values, or from an old key, to the newest one
    turns         who counts at a time                 steps       what their work consists of

Rule 1: nothing else in the library knows of encryption. So nothing can be forgotten: what is stored goes through here.
Rule 2: it fails closed. A plain value, one from another place, and a key that is not known are errors, never values.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ... import keys
from ...errors import (
    BackendUnavailable,
    DataError,
    NotReplicated,
    OutcomeUnknown,
    SessionStoreError,
    Unencrypted,
    WrongKey,
)
from ...forks import Lock
from ...ops import Batch, Call, Conflict, DeleteRange, Drop, Expect, Get, Page, PutNew, Range
from ..base import Answer, Backend, not_tried, refuse_copies
from ..keyring import Encryption, keyring_of
from . import resealing
from .seals import Foreign, Seals, lineage_of
from .steps import Ask, Pause, Steps, ask, must
from .translating import COUNTED, NONE, Counter, Translation, begins, counters_of
from .turns import Turns

T = TypeVar("T")
SEALS = keys.encode("seals")
"""The partition that tells which keys a storage is encrypted with: a row for each, sealed with it."""
_KNOWN = 20_000  # counters, and partitions that are copies, that are remembered
_PATIENCE = 10.0  # seconds for which a batch that counts is tried again, when others are faster each time


class EncryptedBackend(Backend):
    """`EncryptedBackend(backend, key)`: closing it closes the inner one.

    `encryption` is a key of 32 bytes, several, a `Keyring`, or True for those in the environment. What cannot be
    encrypted stays visible: ids and names, sizes, times, how many rows there are.

    `counted` are the keys at which the storage counts for `Append`; others cannot be appended to. A replay of `Add` by
    its operation id replies what the sum has become.
    """

    def __init__(self, inner: Backend, encryption: Encryption, *, counted: Iterable[bytes] = COUNTED) -> None:
        self.inner = inner
        self._seals = Seals(keyring_of(encryption))
        self._counted = frozenset(counted)
        self._turns = Turns()
        self._lock = Lock()
        self._counters: OrderedDict[tuple[bytes, bytes], Counter] = OrderedDict()
        self._lineages: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        self._proven = False

    def __repr__(self) -> str:
        return f"EncryptedBackend({self.inner!r})"

    def execute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        refuse_copies(calls)
        if not (counting := self._counting(calls)):
            return self._run(self._steps(calls, ordered))
        with self._turns.take(counting):
            return self._run(self._steps(calls, ordered))

    async def aexecute(self, calls: Sequence[Call], *, ordered: bool = False) -> list[Answer]:
        """See `Backend.execute`."""
        refuse_copies(calls)
        if not (counting := self._counting(calls)):
            return await self._arun(self._steps(calls, ordered))
        async with self._turns.atake(counting):
            return await self._arun(self._steps(calls, ordered))

    def reseal(self) -> int:
        """Seal anew whatever is plain, or sealed with another key than the first one; how many values.

        Others may work meanwhile, if they have the keys. Afterwards the other keys, or `plaintext=True`, are not
        needed any more.
        """
        return self._run(self._reseal())

    async def areseal(self) -> int:
        """The async form of `reseal`."""
        return await self._arun(self._reseal())

    def close(self) -> None:
        """Close the inner backend."""
        self.inner.close()

    async def aclose(self) -> None:
        """Close the inner backend."""
        await self.inner.aclose()

    # -- the two drivers

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send([])
                else:
                    step = steps.send(self.inner.execute(step.calls, ordered=step.ordered))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _arun(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send([])
                else:
                    step = steps.send(await self.inner.aexecute(step.calls, ordered=step.ordered))
        except StopIteration as stop:
            result: T = stop.value
            return result

    # -- calls

    def _steps(self, calls: Sequence[Call], ordered: bool) -> Steps[list[Answer]]:
        try:
            yield from self._prove()
        except SessionStoreError as exc:
            return [_not_applied(exc)] * len(calls)
        answers: dict[int, Answer] = {}
        deadline, waits = time.monotonic() + _PATIENCE, 0
        while pending := [index for index in range(len(calls)) if index not in answers]:
            before = len(answers)
            answers.update((yield from self._look({index: calls[index] for index in pending})))
            sent: dict[int, Translation] = {}
            for index in pending:
                if ordered and index and index - 1 in answers and (skipped := not_tried(True, [answers[index - 1]])):
                    answers[index] = skipped
                if ordered and (index in answers or any(one.refusal for one in sent.values())):
                    break
                if index not in answers:
                    sent[index] = self._translation(calls[index])
            got = yield Ask([one.sealed for one in sent.values()], ordered)
            for (index, translation), answer in zip(sent.items(), got, strict=True):
                meant = yield from self._meant(calls[index], translation, answer)
                if meant is not None:
                    answers[index] = meant
                elif ordered:
                    break  # those behind it were not tried
            if len(answers) < len(calls):
                if len(answers) > before:
                    deadline, waits = time.monotonic() + _PATIENCE, 0
                if time.monotonic() > deadline:
                    late = BackendUnavailable(f"others were faster each time for {_PATIENCE} seconds")
                    return [answers.get(index, late) for index in range(len(calls))]
                yield Pause(random.uniform(0, 0.001 * 2 ** min(waits, 6)))
                waits += 1
        return [answers[index] for index in range(len(calls))]

    def _counting(self, calls: Sequence[Call]) -> set[bytes]:
        """The partitions on which calls count."""
        return {call.partition for call in calls if counters_of(self._counted, call)}

    def _translation(self, call: Call, *, noting: bool = False) -> Translation:
        def seen(key: bytes) -> Counter:
            return self._counters.get((call.partition, key), NONE)

        lineages = self._known_lineages(call.partition)
        return Translation(self._seals, self._counted, call, seen, lineages, noting=noting)

    def _meant(self, call: Call, translation: Translation, answer: Answer) -> Steps[Answer | None]:
        """What an answer means for the caller; None: nothing was applied, and the call has to be made again."""
        if isinstance(answer, NotReplicated):
            meant = yield from self._meant(call, translation, answer.result)
            return meant if isinstance(meant, SessionStoreError) else answer.of(meant)
        if isinstance(answer, SessionStoreError):
            return answer
        if isinstance(answer, Conflict):
            meant = translation.failed(answer)
            if meant is None:
                self._forget(call.partition, counters_of(self._counted, call))
                return None
            if not translation.compared(answer) or call.partition in self._lineages:
                return meant
            try:  # the row may be one that came with a copy
                lineages = yield from self._find_lineages(call.partition)
            except SessionStoreError as exc:
                return _not_applied(exc)
            return None if len(lineages) > 1 else meant
        if translation.refusal is not None:
            return translation.refusal
        try:
            replies = yield from self._understood(call, translation, answer)
        except SessionStoreError as exc:
            if not call.batch.writes and call.source is None:
                return _not_applied(exc)
            unknown = OutcomeUnknown(f"the call was applied, and what it has read cannot be given back: {exc}")
            unknown.__cause__ = exc
            return unknown
        with self._lock:
            if call.source is not None or begins(call) or Drop() in call.batch.ops:
                self._lineages.pop(call.partition, None)
            others = dict.fromkeys(self._counted, NONE) if begins(call) else {}
            for key, counter in {**others, **translation.counters}.items():
                self._counters[call.partition, key] = counter
                self._counters.move_to_end((call.partition, key))
            while len(self._counters) > _KNOWN:
                self._counters.popitem(last=False)
        return replies

    def _understood(self, call: Call, translation: Translation, replies: list[Any]) -> Steps[list[Any]]:
        """The replies, opened; where a row came with a copy, after looking from where."""
        lineages = self._known_lineages(call.partition) if call.source is None else (lineage_of(call.partition),)
        try:
            return translation.understand(replies, lineages)
        except Foreign:
            pass
        return translation.understand(replies, (yield from self._find_lineages(call.partition)))

    # -- what has to be known before

    def _prove(self) -> Steps[None]:
        """Refuse to work on a storage that is encrypted with other keys; leave there what proves ours."""
        if self._proven:
            return
        for begun in (False, True):
            rows = yield from self._proofs()
            if not rows and not self._seals.plaintext and (yield from self._is_used()):
                rows = yield from self._proofs()  # somebody may have begun between the two looks
                if not rows:
                    raise Unencrypted(
                        "this storage holds values that are not encrypted: open it with Keyring(key, plaintext=True), "
                        "and reseal() it"
                    )
            if rows and not any(self._opens(key, value) for key, value in rows.items()):
                raise WrongKey("this storage is encrypted with other keys than those that were given")
            name = keys.encode(self._seals.names[0].hex())
            if name in rows:
                break
            first = [] if rows or begun else [Expect(keys.INCARNATION, False)]  # one of those who begin at once
            outcome = yield from ask(SEALS, *first, PutNew(name, self._seals.seal(SEALS, name, b"")))
            if not isinstance(outcome, Conflict):
                break
        self._proven = True

    def _proofs(self) -> Steps[dict[bytes, bytes]]:
        (rows,) = yield from must(SEALS, Range(keys.ORIGINS[1], None))
        return dict(rows)

    def _is_used(self) -> Steps[bool]:
        """Whether anything is listed."""
        for kind in resealing.LISTS:
            (page,) = yield from must(keys.registry(kind), Page("name", limit=1))
            if page.rows:
                return True
        return False

    def _opens(self, key: bytes, value: bytes) -> bool:
        try:
            return not self._seals.open(SEALS, key, value, (lineage_of(SEALS),))
        except DataError:
            return False

    def _reseal(self) -> Steps[int]:
        yield from self._prove()
        done = yield from resealing.everything(self._seals, self._counted)
        name = keys.encode(self._seals.names[0].hex())
        yield from must(SEALS, DeleteRange(b"", name), DeleteRange(name + keys.END, None))
        return done

    def _look(self, calls: Mapping[int, Call]) -> Steps[dict[int, Answer]]:
        """Read the counters that calls need, and are not known; the errors of those whose counters cannot be read."""
        looks: dict[int, Call] = {}
        for index, call in calls.items():
            wanted = set() if begins(call) else counters_of(self._counted, call)
            missing = [Get(key) for key in sorted(wanted) if (call.partition, key) not in self._counters]
            if missing:
                looks[index] = Call(call.partition, Batch(*missing))
        errors: dict[int, Answer] = {}
        if looks:
            sent = [self._translation(look, noting=True) for look in looks.values()]
            got = yield Ask([one.sealed for one in sent])
            for (index, look), translation, answer in zip(looks.items(), sent, got, strict=True):
                meant = yield from self._meant(look, translation, answer)
                if isinstance(meant, SessionStoreError):
                    errors[index] = _not_applied(meant)
        return errors

    def _known_lineages(self, partition: bytes) -> tuple[bytes, ...]:
        return self._lineages.get(partition) or (lineage_of(partition),)

    def _find_lineages(self, partition: bytes) -> Steps[tuple[bytes, ...]]:
        (origins,) = yield from must(partition, Range(*keys.ORIGINS))
        found = self._seals.lineages(partition, origins)
        with self._lock:
            self._lineages[partition] = found
            while len(self._lineages) > _KNOWN:
                self._lineages.popitem(last=False)
        return found

    def _forget(self, partition: bytes, counters: Iterable[bytes]) -> None:
        with self._lock:
            for key in counters:
                self._counters.pop((partition, key), None)


def _not_applied(error: SessionStoreError) -> SessionStoreError:
    """An error of our own reads; nothing of the caller's was applied."""
    if not isinstance(error, OutcomeUnknown):
        return error
    certain = BackendUnavailable(f"nothing was applied: {error}")
    certain.__cause__ = error
    return certain
