"""What must hold for the rows of a partition at any time, whoever wrote them. A plan each; no assertions."""

from __future__ import annotations

from .. import keys
from ..ops import Count, Get, Plan, Range, must
from ..plans import lists


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
    return wrong + [str(finding.problem) for finding in (yield from lists.find(registry, set()))]
