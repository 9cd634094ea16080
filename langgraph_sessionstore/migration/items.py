"""Copying the items of stores.

Rule 1: a search is asked for more and more from its beginning, until it brings less than that: pages of a store that
        orders by the time of the last change may miss items, or bring them twice.
Rule 2: a search finds what lies below a namespace too. So it is asked for the topmost namespaces only, and each item
        is read once.
Rule 3: what the target has under a key stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
)

from ..crossing import Crossing
from ..errors import BackendError, ConfigurationError
from . import peers
from .report import Progress, Report, Tally, listing
from .same import same
from .steps import Ask

Namespace = tuple[str, ...]
Known = Mapping[tuple[Namespace, str], Item]
PAGE = 1000
BATCH = 100


def copying(
    source: BaseStore, target: BaseStore, prefix: Namespace, verify: bool, progress: Progress | None, going: bool
) -> Crossing[Report]:
    """Copy items."""
    tally = Tally(progress, going)
    namespaces: set[Namespace] = set()
    with listing(source):
        tops = yield from _tops(source, prefix)
    known = yield from _known(target, prefix)
    for top in tops:
        items = yield from _below(source, top)
        namespaces.update(item.namespace for item in items)
        tally.total += len(items)
        for batch in _batches(items):
            yield from _copy(target, batch, known, tally)
            tally.step(len(batch))
    tally.seen = len(namespaces)
    if verify:
        known = yield from _known(target, prefix)
        for top in tops:
            for batch in _batches((yield from _below(source, top))):
                yield from _compare(target, batch, known, tally)
    return tally.report()


def _tops(source: BaseStore, prefix: Namespace) -> Crossing[list[Namespace]]:
    """The topmost namespaces with items."""
    if _is_redis(source):
        return [prefix]
    found: set[Namespace] = set()
    conditions = (MatchCondition("prefix", prefix),) if prefix else None
    while True:
        op = ListNamespacesOp(match_conditions=conditions, limit=PAGE, offset=len(found))
        (page,) = yield Ask(source, "batch", ([op],))
        before = len(found)
        found.update(map(tuple, page))
        if len(page) < PAGE or len(found) == before:
            break
    return sorted(each for each in found if not any(each[:size] in found for size in range(len(each))))


def _below(store: BaseStore, top: Namespace) -> Crossing[list[Item]]:
    """All items of a namespace and of those below, those changed last at the end."""
    limit = PAGE
    prefix = () if _is_redis(store) else top
    while True:
        with listing(store):
            (found,) = yield from _ask(store, [SearchOp(prefix, limit=limit, refresh_ttl=False)])
        if len(found) < limit:
            break
        if limit == peers.MOST and _is_redis(store):
            raise ConfigurationError(f"RedisStore finds no more than {limit:,} items at once, and holds more")
        limit = min(limit * 4, peers.MOST) if _is_redis(store) else limit * 4
    # a store that compares namespaces as text brings those with longer labels as well
    items = {(tuple(each.namespace), each.key): each for each in found if tuple(each.namespace)[: len(top)] == top}
    return sorted((_plain(each) for each in items.values()), key=lambda each: str(each.updated_at))


def _plain(found: SearchItem) -> Item:
    namespace = tuple(found.namespace)
    return Item(
        value=found.value, key=found.key, namespace=namespace, created_at=found.created_at, updated_at=found.updated_at
    )


def _known(target: BaseStore, top: Namespace) -> Crossing[Known | None]:
    """What a target has below a namespace, when it cannot be asked for keys."""
    if not _is_redis(target):
        return None
    return {(each.namespace, each.key): each for each in (yield from _below(target, top))}


def _look(target: BaseStore, items: Sequence[Item], known: Known | None) -> Crossing[Sequence[Item | None]]:
    """What the target has in the place of these items."""
    if known is not None:
        return [known.get((each.namespace, each.key)) for each in items]
    with listing(target):
        found: Sequence[Item | None] = yield from _ask(
            target, [GetOp(each.namespace, each.key, refresh_ttl=False) for each in items]
        )
    return found


def _copy(target: BaseStore, items: Sequence[Item], known: Known | None, tally: Tally) -> Crossing[None]:
    there = yield from _look(target, items, known)
    tally.present += sum(each is not None for each in there)
    pairs = list(zip(items, there, strict=True))
    tally.differing += sum(old is not None and not same(new.value, old.value) for new, old in pairs)
    ttl = (getattr(target, "ttl_config", None) or {}).get("default_ttl")
    puts = [PutOp(new.namespace, new.key, new.value, None, ttl) for new, old in pairs if old is None]
    try:
        if puts:
            yield from _ask(target, puts)
        tally.copied += len(puts)
    except BackendError:
        raise
    except Exception:
        for put in puts:  # which of them is it?
            yield from _put_alone(target, put, tally)


def _put_alone(target: BaseStore, put: PutOp, tally: Tally) -> Crossing[None]:
    try:
        yield from _ask(target, [put])
        tally.copied += 1
    except Exception as exc:
        tally.fail("an item of namespace", ".".join(put.namespace), exc)


def _compare(target: BaseStore, items: Sequence[Item], known: Known | None, tally: Tally) -> Crossing[None]:
    there = yield from _look(target, items, known)
    for item, other in zip(items, there, strict=True):
        if other is None:
            tally.differ(f"namespace {item.namespace!r}: item {item.key!r} is missing")
        elif not same(item.value, other.value):
            tally.differ(f"namespace {item.namespace!r}: item {item.key!r} differs")


def _ask(store: BaseStore, ops: Sequence[Op]) -> Crossing[Any]:
    return (yield Ask(store, "batch", (ops,)))


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for first in range(0, len(items), BATCH):
        yield items[first : first + BATCH]


def _is_redis(store: BaseStore) -> bool:
    return peers.is_of(store, "langgraph.store.redis")
