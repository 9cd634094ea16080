"""Checkpoints as a tree that a person can read: what goes on stays on its line, what branches off is moved in.

Rule: of several children the one with the newest descendant goes on; the others are branches, and stand before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Line(NamedTuple):
    """A checkpoint, and how far in it stands."""

    depth: int
    branches: bool
    """Whether it is the first of a branch."""
    checkpoint: Mapping[str, Any]


def grown(checkpoints: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """The checkpoints of one namespace, the oldest first."""
    known = {each["checkpoint_id"]: each for each in checkpoints}
    children: dict[str | None, list[str]] = {}
    for name in sorted(known):
        parent = known[name]["parent_checkpoint_id"]
        children.setdefault(parent if parent in known and parent < name else None, []).append(name)
    newest: dict[str, str] = {}
    for name in sorted(known, reverse=True):  # children have greater ids
        newest[name] = max([name, *(newest[child] for child in children.get(name, ()))])
    waiting = [(name, 0, False) for name in sorted(children.get(None, ()), key=newest.__getitem__, reverse=True)]
    while waiting:
        name, depth, branches = waiting.pop()
        yield Line(depth, branches, known[name])
        *others, last = sorted(children.get(name, ()), key=newest.__getitem__) or [""]
        if last:
            waiting.append((last, depth, False))
        waiting += [(other, depth + 1, True) for other in reversed(others)]


def drawn(lines: Iterable[Line]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What stands before each checkpoint."""
    for line in lines:
        if line.depth == 0:
            yield "* ", line.checkpoint
        else:
            yield "| " * (line.depth - 1) + ("|\\" if line.branches else "| ") + " * ", line.checkpoint
