"""A store with lifetimes does what a dict with ends does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from support.lifetimes import PEEK, Clock, Managers, Namespace, listed, rows, unsound
from support.places import two_places
from support.sittings import Form

from langgraph_sessionstore import SESSION_NAMESPACE, Backend
from langgraph_sessionstore.plans.items import VALUE


class Kept(NamedTuple):
    """What the model knows of an item. It ends somewhere between two moments, in milliseconds."""

    value: dict[str, Any]
    created: int
    updated: int
    ttl: int | None
    least: int
    most: int


class Model:
    """Items as a dict."""

    def __init__(self, clock: Clock) -> None:
        self.items: dict[tuple[Namespace, str], Kept] = {}
        self._clock = clock

    @property
    def _now(self) -> int:
        return self._clock.now // 1000

    def put(self, address: tuple[Namespace, str], value: dict[str, Any], ttl: int | None) -> None:
        old, now = self.items.get(address), self._clock.now
        end = 0 if ttl is None else self._now + ttl
        self.items[address] = Kept(value, old.created if old else now, now, ttl, end, end)

    def use(self, address: tuple[Namespace, str]) -> None:
        kept = self.items[address]
        if kept.ttl is not None:
            most = max(kept.most, self._now + kept.ttl + kept.ttl // 16)
            self.items[address] = kept._replace(least=self._now + kept.ttl, most=most)

    def forget(self, there: Callable[[tuple[Namespace, str]], bool]) -> None:
        """What has ended is gone; and what may have, when it is not there."""
        for address, kept in list(self.items.items()):
            if kept.ttl is not None and kept.least <= self._now and (kept.most <= self._now or not there(address)):
                del self.items[address]

    def below(self, prefix: Namespace) -> list[tuple[Namespace, str]]:
        of_sessions = prefix[:1] == (SESSION_NAMESPACE,)
        return sorted(
            address
            for address in self.items
            if address[0][: len(prefix)] == prefix and (of_sessions or address[0][0] != SESSION_NAMESPACE)
        )


OWN: list[Namespace] = [("a",), ("a", "b"), ("ab",), ("ü ", "%")]
SPACES: list[Namespace] = [*OWN, (SESSION_NAMESPACE, "s"), (SESSION_NAMESPACE, "s", "n")]


@two_places
@pytest.mark.parametrize(("seed", "unit"), [(0, 1), (1, 60_000)])
def test_it_does_what_a_dict_with_ends_does(
    seed: int, unit: int, manager_on: Managers, storage: Callable[[], Backend], form: Form, clock: Clock
) -> None:
    chance, model = random.Random(seed), Model(clock)
    stores = [manager_on().store for _ in range(2)]
    prefixes: list[Namespace] = [(), *SPACES]

    def there(address: tuple[Namespace, str]) -> bool:
        return form.do(stores[0], "get", *address, **PEEK) is not None

    for turn in range(120):
        clock.pass_(milliseconds=unit * chance.choice((0, 0, 1, 1, 2, 5)) + chance.randrange(unit))
        clock.now += chance.randrange(1, 900)  # so that no two moments are the same
        model.forget(there)
        store, address = chance.choice(stores), (chance.choice(SPACES), chance.choice("kl"))
        refresh = chance.random() < 0.5
        match chance.randrange(9):
            case 0 | 1 | 2:
                ttl = chance.choice((None, *range(1, 12)))
                form.do(store, "put", *address, {"turn": turn}, ttl=ttl and ttl * unit / 60_000)
                model.put(address, {"turn": turn}, ttl and ttl * unit)
            case 3:
                form.do(store, "delete", *address)
                model.items.pop(address, None)
            case 4:
                found = form.do(store, "get", *address, refresh_ttl=refresh)
                assert (found is not None) == (address in model.items), (turn, address)
                if found is not None and refresh:
                    model.use(address)
            case 5 | 6:
                prefix, limit = chance.choice(prefixes), chance.choice((1, 2, 99))
                skip = chance.choice((0, 0, 1))
                items = form.do(store, "search", prefix, limit=limit, offset=skip, refresh_ttl=refresh)
                wanted = model.below(prefix)[skip : skip + limit]
                assert [(item.namespace, item.key) for item in items] == wanted, (turn, prefix, limit)
                for item in items:
                    kept = model.items[item.namespace, item.key]
                    times = [round(each.timestamp() * 1_000_000) for each in (item.created_at, item.updated_at)]
                    assert (item.value, *times) == (kept.value, kept.created, kept.updated), turn
                for each in wanted if refresh else ():
                    model.use(each)
            case 7:
                prefix = chance.choice(prefixes)
                spaces = sorted({ns for ns, _ in model.below(prefix)})
                assert form.do(store, "list_namespaces", prefix=prefix) == spaces, (turn, prefix)
            case 8:
                form.do(store, "sweep_ttl")
                for namespace in OWN:
                    own = rows(storage(), namespace)
                    assert {where[-1] for where in own.get(VALUE, {})} == {
                        key for ns, key in model.items if ns == namespace
                    }, turn
                    assert bool(own.get(VALUE)) == bool(own) == (namespace in listed(storage())), turn
        for namespace in SPACES if turn % 10 == 9 else ():
            assert unsound(storage(), namespace) == [], turn
