"""Commands that take care of a storage: stats, check, bench."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ..errors import SessionNotFound
from ..manager import SessionManager
from . import naming
from .benchmark import KINDS, measured
from .opening import Json, Url, storage
from .output import Output
from .parsing import count, size
from .viewing import Viewer

caring = typer.Typer()


@caring.command()
def stats(
    url: Url = None,
    largest: Annotated[
        int, typer.Option("--largest", "-n", metavar="N", min=0, max=1000, help="Name so many of the largest.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Say how much is stored: sessions, bytes by kind, the largest, what sharing saves. Reads everything once."""
    with storage(url) as manager:
        out = Output(as_json)
        with out.progress("sessions") as progress:
            found = manager.stats(largest=largest, progress=progress)
        if as_json:
            out.document(
                {
                    "sessions": found.sessions,
                    "rows": found.rows,
                    "bytes": found.bytes,
                    "kinds": {
                        kind: {"rows": amount.rows, "bytes": amount.bytes} for kind, amount in found.kinds.items()
                    },
                    "checkpoints": found.checkpoints,
                    "saved_by_sharing": found.saved,
                    "largest": [{"id": name, "bytes": amount} for name, amount in found.largest],
                    "unreadable": list(found.unreadable),
                    "store": {"namespaces": found.namespaces, "items": found.items, "bytes": found.store_bytes},
                    "unreadable_namespaces": [list(each) for each in found.unreadable_namespaces],
                    "cache": {"bytes": found.cache_bytes},
                }
            )
        else:
            spaces = found.namespaces
            out.facts(
                [
                    ("sessions", f"{found.sessions:,}"),
                    ("size", f"{size(found.bytes)} in {found.rows:,} rows"),
                    ("checkpoints", f"{found.checkpoints:,}"),
                    ("saved", f"{size(found.saved)} by sharing" if found.saved else None),
                    (
                        "store",
                        f"{count(found.items, 'item')} in {count(spaces, 'namespace')}, {size(found.store_bytes)}",
                    ),
                    ("cache", size(found.cache_bytes)),
                ]
            )
            kinds = [(kind, amount) for kind, amount in found.kinds.items() if amount.rows]
            for title, columns, rows in (
                ("by kind", ("kind", "size", "rows"), [(kind, size(at.bytes), f"{at.rows:,}") for kind, at in kinds]),
                ("largest", ("id", "size"), [(name, size(amount)) for name, amount in found.largest]),
            ):
                if rows:
                    out.heading(title)
                    out.table(columns, rows)
            for name in (*map(repr, found.unreadable), *map(repr, found.unreadable_namespaces)):
                out.line(f"cannot be read: {name}", "red")
    if found.unreadable or found.unreadable_namespaces:
        raise typer.Exit(1)


@caring.command()
def check(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="These sessions; all unless given.")] = None,
    url: Url = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be, and say what was done.")] = False,
    as_json: Json = False,
) -> None:
    """Check that all that is stored is whole: rows that are missing, damaged, or of no use. Ends with 1 when it is not.

    --repair takes away what is of no use, and puts right what follows from other rows. It guesses nothing, and deletes
    nothing that was said.
    """
    with storage(url, serde=Viewer()) as manager:
        out = Output(as_json)
        bad = looked = mended = 0
        documents: list[dict[str, Any]] = []
        with out.progress("sessions") as progress:
            for found in _checked(manager, ids, repair, progress):
                looked += found.id is not None
                bad += len(found.problems)
                mended += len(found.repaired)
                if not found.problems and not found.repaired:
                    continue
                if as_json:
                    problems = [each._asdict() for each in found.problems]
                    documents.append({"id": found.id, "problems": problems, "repaired": list(found.repaired)})
                    continue
                out.line(f"session {found.id}" if found.id is not None else "the lists", "bold")
                for done in found.repaired:
                    out.line(f"  repaired: {done}", "green")
                for problem in found.problems:
                    out.line(f"  {problem}", "red")
        if as_json:
            out.document({"checked": looked, "problems": bad, "repaired": mended, "found": documents})
        else:
            rest = f", {count(mended, 'repair')}" if repair else ""
            out.line(f"{count(looked, 'session')} checked: {count(bad, 'problem') if bad else 'all is well'}{rest}")
    if bad:
        raise typer.Exit(1)


def _checked(manager: SessionManager, ids: list[str] | None, repair: bool, progress: Any) -> Iterator[Any]:
    if not ids:
        yield from manager.check_sessions(repair=repair, progress=progress)
    checked = []
    for each in ids or ():  # all of them are there, before anything is repaired
        try:
            checked.append(manager.check_session(each))
        except SessionNotFound:
            naming.session(manager, each)  # which says what may have been meant
            raise
    for number, found in enumerate(checked, 1):
        yield manager.check_session(str(found.id), repair=True) if repair else found
        progress(number, len(checked))


@caring.command()
def bench(
    url: Url = None,
    turns: Annotated[
        int, typer.Option("--turns", "-t", metavar="N", min=1, max=10_000, help="Turns of the conversation.")
    ] = 50,
    as_json: Json = False,
) -> None:
    """Measure what calls cost on this storage, with a session of its own that is deleted afterwards.

    Each kind of call is made once a turn; medians are what to look at. The empty call is what the way to the storage
    costs by itself.
    """
    with storage(url, create=True, alone=True) as manager:
        out = Output(as_json)
        with out.progress("turns") as progress:
            figures = measured(manager, turns, progress)
        if as_json:
            out.document({"turns": turns, "calls": {name: asdict(figure) for name, figure in figures.items()}})
            return
        rows = [
            (KINDS[name], f"{figure.median * 1000:.2f}", f"{figure.p95 * 1000:.2f}", f"{1 / figure.median:,.0f}")
            for name, figure in figures.items()
        ]
        out.table(("call", "median ms", "95% ms", "a second"), rows)
