"""What must hold for the rows of a partition at any time, whoever wrote them. A plan each; no assertions."""

from __future__ import annotations

from .. import keys
from ..backends.registry import index
from ..ops import Count, Entry, Get, Plan, Range, must


def check_partition(partition: bytes) -> Plan[list[str]]:
    """What is wrong with a partition: a list of sentences, empty when all is well."""
    rows, count, incarnation = yield from must(partition, Range(b"", None), Count(b"", None), Get(keys.INCARNATION))
    found = [key for key, _ in rows]
    wrong = []
    if found != sorted(set(found)):
        wrong.append("its keys are not in order, or not there once each")
    if count != len(found):
        wrong.append(f"it counts {count} rows and gives back {len(found)}")
    if found and incarnation is None:
        wrong.append("it has rows and no incarnation")
    if any(not keys.SYSTEM[1] <= key or b"\0" in key for key in found):
        wrong.append("it holds keys that no key can be")
    return wrong


def check_registry(registry: bytes) -> Plan[list[str]]:
    """What is wrong with a registry: its records and its indexes must say the same."""
    wrong = yield from check_partition(registry)
    (found,) = yield from must(registry, Range(b"", None))
    rows = dict(found)
    wanted = set()
    for key, value in rows.items():
        if key[:1] == b"n" and len(value) != 36:
            wrong.append(f"the record of {key[1:]!r} is damaged")
        elif key[:1] == b"n":
            entry = Entry(key[1:], int(value[:12], 16), int(value[12:24], 16), int(value[24:], 16))
            wanted |= {key, *index(entry)}
        elif key[:1] == b"t":
            name, _, run = key[1:].partition(keys.END + keys.END)
            wanted |= {key, b"r" + run + name + keys.END}
            if b"n" + name + keys.END not in rows:
                wrong.append(f"{name!r} has runs and is not listed")
    wrong += [f"the row {key!r} is missing" for key in sorted(wanted - rows.keys())]
    wrong += [f"the row {key!r} belongs to nothing" for key in sorted(rows.keys() - wanted)]
    return wrong
