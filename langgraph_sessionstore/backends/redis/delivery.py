"""How batches reach Redis and what is done when they do not arrive: one generator for sync and async.

Rule 1: the transactions for one server travel in one trip, in their order.
Rule 2: what certainly was not applied (no connection, MOVED, ASK, LOADING, a lost script ...) is sent again
        until `patience` ends.
Rule 3: what may have been applied, because the connection broke before its answer, is sent again only if it is
        `repeatable` (see `ops.Batch`). Otherwise it is `OutcomeUnknown`.
Rule 4: replicas are waited for once in a trip, behind all that it writes. What was applied and is not confirmed then is
        `NotReplicated`, and not sent again: that is for its caller to decide.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)

from ...errors import (
    BackendClosed,
    BackendError,
    BackendFull,
    BackendUnavailable,
    CorruptData,
    ForeignStorage,
    NotReplicated,
    OutcomeUnknown,
    SessionStoreError,
)
from ...ops import Conflict
from ..retries import COUNTED, again
from .commands import Parcel
from .steps import Address, Arrival, Pause, Steps, Trip, Trips, errors_in
from .topology import Topology
from .words import Command

HOPS = 8  # so many redirections in a row are followed without a pause, and do not count as waiting
_REDIRECTED = (MovedError, AskError, NoScriptError)
_LATER = (BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)
_FINAL = (AuthenticationError, AuthorizationError, BackendClosed)


class Replicas(NamedTuple):
    """How many replicas have to confirm what was written, and how long they are waited for."""

    number: int
    seconds: float

    def wait(self) -> Command:
        """The command, behind what was written and never inside a transaction, where it does not wait."""
        return ("WAIT", self.number, max(1, round(self.seconds * 1000)))  # 0 would be for ever


class _Job:
    """One parcel on its way."""

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.answer: Any = None
        self.load = False  # the server does not know the script: send it along
        self.ask: Address | None = None  # where the next attempt goes, while a slot is moving
        self.perhaps = False  # an attempt may have been applied
        self.trouble: Exception | None = None  # what the last attempt met


def deliver(
    topology: Topology, parcels: Sequence[Parcel], patience: float, replicas: Replicas | None = None
) -> Steps[list[Any]]:
    """Deliver all parcels and return what became of each: its outcome or an error."""
    jobs = [_Job(parcel) for parcel in parcels]
    deadline = time.monotonic() + patience
    hops = waits = 0
    while pending := [job for job in jobs if job.answer is None]:
        if hops or waits:
            again(COUNTED.get())
        if topology.stale:
            yield from topology.refresh()
        routes = _routes(topology, pending)
        if routes:
            sent = [_commands(group) for group in routes.values()]
            trips = [
                Trip(address, [command for part in parts for command in part] + _wait(group, replicas))
                for (address, group), parts in zip(routes.items(), sent, strict=True)
            ]
            arrivals = yield Trips(trips)
            for (address, group), parts, arrival in zip(routes.items(), sent, arrivals, strict=True):
                behind = _receive(topology, address, group, [len(part) for part in parts], arrival)
                if replicas:
                    _confirm(group, replicas, behind, arrival.lost)
        pending = [job for job in pending if job.answer is None]
        if hops < HOPS and all(isinstance(job.trouble, _REDIRECTED) for job in pending):
            hops += 1
        elif time.monotonic() > deadline:
            for job in pending:
                job.answer = _give_up(job, patience)
        else:
            yield Pause(random.uniform(0.5, 1.0) * min(0.005 * 2 ** min(waits, 10), 0.5))
            waits += 1
            hops = 0
    return [job.answer for job in jobs]


def _routes(topology: Topology, pending: list[_Job]) -> dict[Address | None, list[_Job]]:
    """Who goes where in the next trips."""
    if not topology.cluster:
        return {None: pending}
    routes: dict[Address | None, list[_Job]] = {}
    for job in pending:
        address = job.ask or topology.address(job.parcel.key)
        if address is None:
            job.trouble = topology.trouble or ClusterDownError("no server holds this slot")
            topology.stale = True
        else:
            routes.setdefault(address, []).append(job)
    return routes


def _commands(group: list[_Job]) -> list[list[Command]]:
    """The commands of every job; the script itself goes along once, when the server has lost it."""
    parts = []
    loading = True
    for job in group:
        commands = job.parcel.commands(job.load and loading)
        loading = loading and not job.load
        parts.append([("ASKING",), *commands] if job.ask else commands)
    return parts


def _receive(
    topology: Topology, address: Address | None, group: list[_Job], sizes: list[int], arrival: Arrival
) -> list[Any]:
    """Give every job of a trip its replies, or what became of it; the replies behind theirs."""
    begin = 0
    if arrival.lost:
        topology.distrust(address)
    for job, size in zip(group, sizes, strict=True):
        replies = arrival.replies[begin : begin + size]
        begin += size
        asked, job.ask = job.ask is not None, None
        errors = errors_in(replies)
        if errors:
            _refused(topology, address, job, errors[0])
        elif len(replies) < size:
            assert arrival.lost is not None
            _lost(job, arrival.lost, arrival.sent)
        else:
            try:
                job.answer = job.parcel.outcome(replies[1:] if asked else replies)
            except CorruptData as exc:
                job.answer = exc
    return arrival.replies[begin:]


def _wait(group: list[_Job], replicas: Replicas | None) -> list[Command]:
    return [replicas.wait()] if replicas and any(job.parcel.writes for job in group) else []


def _confirm(group: list[_Job], replicas: Replicas, behind: list[Any], lost: Exception | None) -> None:
    """What was applied in this trip is in doubt when too few replicas have confirmed it."""
    for job in group:
        applied = job.answer is not None and not isinstance(job.answer, (Conflict, SessionStoreError))
        if not (job.parcel.writes and applied):
            continue
        if not behind:
            text = f"the connection broke before replicas could confirm it: {lost}"
        elif isinstance(behind[0], Exception):
            text = f"Redis does not wait for replicas: {behind[0]}"
        elif behind[0] < replicas.number:
            text = f"{behind[0]} of {replicas.number} replicas have confirmed it within {replicas.seconds:g} s"
        else:
            continue
        doubt = NotReplicated(f"the batch was applied, but {text}")
        doubt.result, job.answer = job.answer, doubt


def _refused(topology: Topology, address: Address | None, job: _Job, error: Exception) -> None:
    """The server answered with an error: this attempt was not applied."""
    job.trouble = error
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, (MovedError, AskError)):
        # a node that does not know how the other is reached leaves the host out: it is the same one
        elsewhere = (error.host or (address[0] if address else ""), error.port)
        if isinstance(error, MovedError):
            topology.moved(error.slot_id, elsewhere)
        else:
            job.ask = elsewhere
    elif isinstance(error, NoScriptError):
        job.load = True
    elif isinstance(error, _LATER) or any(sign in text for sign in ("READONLY", "NOREPLICAS", "BUSY ")):
        topology.distrust(address)
    elif _is_full(text) and (parcel := job.parcel.together()):
        job.parcel = parcel
    elif job.perhaps:
        job.answer = _unknown(job)
    else:
        job.answer = refusal(error)


def _lost(job: _Job, lost: Exception, sent: bool) -> None:
    """The connection broke before this job's last reply."""
    job.trouble = lost
    job.perhaps |= sent and job.parcel.writes
    if job.perhaps and not job.parcel.repeatable:
        job.answer = _unknown(job)
    elif isinstance(lost, _FINAL) and not sent:
        job.answer = _unknown(job) if job.perhaps else refusal(lost)


def refusal(error: Exception) -> BackendError:
    """The only place where an error of Redis, or of a log-in, becomes ours."""
    if isinstance(error, BackendClosed):
        return error
    text = f"{type(error).__name__}: {error}"
    kind: type[BackendError] = BackendError
    if _is_full(text):
        kind = BackendFull
    elif "WRONGTYPE" in text:
        kind = ForeignStorage
    does = "does not let us in" if isinstance(error, _FINAL) else "refused a batch"
    refused = kind(f"Redis {does}: {text}")
    refused.__cause__ = error
    return refused


def _is_full(text: str) -> bool:
    return "OutOfMemory" in text or "OOM " in text


def _give_up(job: _Job, patience: float) -> BackendError:
    if job.perhaps:
        return _unknown(job)
    error = BackendUnavailable(f"Redis could not be reached within {patience:g} s: {job.trouble}")
    error.__cause__ = job.trouble
    return error


def _unknown(job: _Job) -> OutcomeUnknown:
    error = OutcomeUnknown(f"no answer from Redis, the batch may have been applied: {job.trouble}")
    error.__cause__ = job.trouble
    return error
