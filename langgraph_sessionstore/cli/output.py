"""Where results and remarks go: tables for a terminal, plain lines for a program, a JSON document for `--json`.

Rule 1: nothing stored reaches a terminal as it is: control characters are shown by their names, so that a title cannot
        clear the screen, and a line of a table stays a line.
Rule 2: rows are printed as they come, page by page, however many there are.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


def safe(text: object, *, lines: bool = False) -> str:
    """A text that changes nothing but what is read; with `lines` it may have several."""
    kept = "\n\t" if lines else ""
    return "".join(each if each in kept or unicodedata.category(each)[0] != "C" else _name(each) for each in str(text))


def _name(character: str) -> str:
    if unicodedata.category(character) == "Cf" and character in "\u200d\u200c":  # within emoji and words
        return character
    return character.encode("unicode_escape").decode("ascii")


class Output:
    """What a command prints to."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.people = not as_json and sys.stdout.isatty()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # what the encoding lacks is no error
                stream.reconfigure(errors="backslashreplace")
        self._console = Console(highlight=False)
        self.notes = Console(stderr=True, highlight=False)
        """The standard error."""

    def line(self, text: str = "", style: str = "") -> None:
        """A line that belongs to the result."""
        if self.people:
            self._console.print(Text(safe(text), style), soft_wrap=True)
        else:
            sys.stdout.write(safe(text) + "\n")

    def heading(self, text: str) -> None:
        """What follows is of another kind."""
        sys.stdout.write("\n")
        self.line(f"{text}:", "bold")

    def block(self, text: str) -> None:
        """A text of several lines."""
        for line in safe(text, lines=True).split("\n"):
            sys.stdout.write(f"    {line}\n")

    def note(self, text: str, style: str = "") -> None:
        """A remark."""
        self.notes.print(Text(safe(text), style), soft_wrap=True)

    def document(self, content: Any) -> None:
        """The result, as JSON."""
        sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")

    def documents(self, name: str, rows: Iterable[Any], rest: Callable[[], dict[str, Any]]) -> None:
        """A JSON document with a list of any length, and what is known at its end."""
        before, begun = "{" + json.dumps(name) + ": [", False  # of a storage that does not answer nothing is written
        for row in rows:
            sys.stdout.write(f"{before}\n  {json.dumps(row, default=str)}")
            before, begun = ",", True
        ends = "".join(f",\n {json.dumps(key)}: {json.dumps(value, default=str)}" for key, value in rest().items())
        sys.stdout.write(f"{'' if begun else before}\n ]{ends}}}\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, header: bool = True) -> None:
        """A table; where a program reads it, a line with tabs for each row."""
        if not self.people:
            for row in rows:
                sys.stdout.write("\t".join(map(safe, row)) + "\n")
            return
        table = Table(box=None, expand=True, show_header=header, header_style="bold", pad_edge=False)
        for number, column in enumerate(columns):
            table.add_column(column, ratio=3 if number == 0 else 2, overflow="fold")
        for row in rows:
            table.add_row(*(Text(safe(cell)) for cell in row))
        self._console.print(table)

    def facts(self, facts: Iterable[tuple[str, object]]) -> None:
        """Names and what they are; those without are left out."""
        for name, value in facts:
            if value in (None, ""):
                continue
            if self.people:
                self.line(f"{name:<12}{value}")
            else:
                sys.stdout.write(f"{safe(name)}\t{safe(value)}\n")

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar on the standard error, where a terminal reads that."""
        if not self.notes.is_terminal:
            yield lambda done, total: None
            return
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self.notes, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
