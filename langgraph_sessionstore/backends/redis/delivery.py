"""How batches reach Redis and what is done when they do not arrive: one generator for sync and async.

Rule 1: the transactions for one server travel in one trip, in their order.
Rule 2: what certainly was not applied (no connection, MOVED, ASK, LOADING, a lost script ...) is sent again
        until `patience` ends.
Rule 3: what may have been applied, because the connection broke before its answer, is sent again only if it is
        `repeatable`: reads, plain puts, and batches with an operation id. Otherwise it is `OutcomeUnknown`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import chain

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

from ...errors import BackendError, BackendFull, BackendUnavailable, CorruptData, ForeignStorage, OutcomeUnknown
from ..base import Answer
from .commands import Command, Parcel
from .steps import Address, Arrival, Pause, Steps, Trip, Trips, errors_in
from .topology import Topology

HOPS = 8  # so many redirections in a row are followed without a pause
_LATER = (BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)
_REFUSED = (AuthenticationError, AuthorizationError)


class _Job:
    """One prepared batch on its way."""

    def __init__(self, prepared: Parcel) -> None:
        self.prepared = prepared
        self.answer: Answer | None = None
        self.load = False  # the server does not know the script: send it along
        self.ask: Address | None = None  # where the next attempt goes, while a slot is moving
        self.perhaps = False  # an attempt may have been applied
        self.trouble: Exception | None = None  # what the last attempt met

    def commands(self) -> list[Command]:
        commands = self.prepared.commands(self.load)
        return [("ASKING",), *commands] if self.ask else commands


def deliver(topology: Topology, batches: Sequence[Parcel], *, ordered: bool, patience: float) -> Steps[list[Answer]]:
    """Deliver all batches and return their answers."""
    jobs = [_Job(prepared) for prepared in batches]
    deadline = time.monotonic() + patience
    attempt = 0
    while pending := [job for job in jobs if job.answer is None]:
        if ordered and any(isinstance(job.answer, BackendError) for job in jobs):
            for job in pending:
                job.answer = BackendUnavailable("not tried: a call before it could not be done")
            break
        if topology.stale:
            yield from topology.refresh()
        routes = _routes(topology, pending, ordered)
        if routes:
            sent = [[job.commands() for job in group] for group in routes.values()]
            arrivals = yield Trips(
                [Trip(address, [*chain.from_iterable(parts)]) for address, parts in zip(routes, sent, strict=True)]
            )
            for group, parts, arrival in zip(routes.values(), sent, arrivals, strict=True):
                _receive(topology, group, [len(part) for part in parts], arrival)
        pending = [job for job in pending if job.answer is None and job.trouble]
        if pending and time.monotonic() > deadline:
            for job in pending:
                job.answer = _give_up(job, patience)
        elif any(not isinstance(job.trouble, (MovedError, AskError, NoScriptError)) for job in pending) or (
            pending and attempt >= HOPS
        ):
            yield Pause(random.uniform(0.5, 1.0) * min(0.005 * 2**attempt, 0.5))
        attempt += 1
    return [job.answer for job in jobs if job.answer is not None]


def _routes(topology: Topology, pending: list[_Job], ordered: bool) -> dict[Address | None, list[_Job]]:
    """Who goes where in the next trips; when the order counts, only the first server's share."""
    routes: dict[Address | None, list[_Job]] = {}
    for job in pending:
        address = job.ask or topology.address(job.prepared.key)
        if topology.cluster and address is None:
            job.trouble = topology.trouble or ClusterDownError("no server holds this slot")
            topology.stale = True
            if ordered:
                break
        elif ordered and routes and address not in routes:
            break
        else:
            routes.setdefault(address, []).append(job)
    return routes


def _receive(topology: Topology, group: list[_Job], sizes: list[int], arrival: Arrival) -> None:
    """Give every job of a trip its replies, or what became of it."""
    begin = 0
    for job, size in zip(group, sizes, strict=True):
        replies = arrival.replies[begin : begin + size]
        begin += size
        asked, job.ask = job.ask is not None, None
        errors = errors_in(replies)
        if errors:
            _refused(topology, job, errors[0])
        elif len(replies) < size:
            assert arrival.lost is not None
            _lost(topology, job, arrival.lost, arrival.sent)
        else:
            try:
                job.answer = job.prepared.outcome(replies[1:] if asked else replies)
            except CorruptData as exc:
                job.answer = exc


def _refused(topology: Topology, job: _Job, error: Exception) -> None:
    """The server answered with an error: this attempt was not applied."""
    job.trouble = error
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MovedError):
        topology.moved(error.slot_id, (error.host, error.port))
    elif isinstance(error, AskError):
        job.ask = (error.host, error.port)
    elif isinstance(error, NoScriptError):
        job.load = True
    elif isinstance(error, _LATER) or any(sign in text for sign in ("READONLY", "NOREPLICAS", "BUSY ")):
        topology.stale = topology.cluster
    elif _is_full(text) and (parcel := job.prepared.together()):
        job.prepared = parcel
    elif job.perhaps:
        job.answer = _unknown(job)
    else:
        kind: type[BackendError] = BackendError
        if _is_full(text):
            kind = BackendFull
        elif "WRONGTYPE" in text:
            kind = ForeignStorage
        job.answer = kind(f"Redis refused a batch: {text}")
        job.answer.__cause__ = error


def _is_full(text: str) -> bool:
    return "OutOfMemory" in text or "OOM " in text


def _lost(topology: Topology, job: _Job, lost: Exception, sent: bool) -> None:
    """The connection broke before this job's last reply."""
    job.trouble = lost
    topology.stale = topology.cluster
    if isinstance(lost, _REFUSED) and not sent:
        job.answer = BackendError(f"Redis does not let us in: {lost}")
        job.answer.__cause__ = lost
        return
    job.perhaps |= sent and job.prepared.batch.writes
    if job.perhaps and not job.prepared.batch.repeatable:
        job.answer = _unknown(job)


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
