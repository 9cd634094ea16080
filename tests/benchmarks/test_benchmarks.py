"""The benchmark command: a small run of it, with nobody but ours and what comes with LangGraph; and what it concludes.

Rule: nothing is asserted on how long anything took.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import __main__ as command
from benchmarks.calls import drive, series
from benchmarks.contender import OURS, Contender
from benchmarks.figures import Figures, Note, Unit
from benchmarks.plots import curves
from benchmarks.race import Race
from benchmarks.raw_client import RawClient, commands
from benchmarks.readme import README, rewritten
from benchmarks.report import amount as amount_of
from benchmarks.report import rows_of_targets, table, table_of_targets
from benchmarks.stage import Stage
from benchmarks.targets import TARGETS, Target, amount, ratio
from benchmarks.workloads import WORKLOADS

pytestmark = pytest.mark.long

TESTS = Path(__file__).parents[1]
PEERS = (
    *("langgraph.checkpoint.sqlite", "langgraph.checkpoint.postgres", "langgraph.checkpoint.redis"),
    *("langgraph.store.sqlite", "langgraph.store.postgres", "langgraph.store.redis"),
    *("langgraph_checkpoint_aws", "langchain_community", "langchain_redis", "matplotlib"),
)
HERE = {
    *(*OURS, "InMemorySaver", "InMemoryStore", "InMemoryChatMessageHistory", "nothing"),
    *("raw client", "bare COPY", "raw dict", "raw sqlite3", "raw redis-py"),
}
"""Who needs nothing but what the tests need."""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The real command in a Python that has none of the others."""
    without = folder / "without"
    without.mkdir(exist_ok=True)
    (without / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({PEERS!r}))\n")
    path = os.pathsep.join([str(without), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="module")
def small(folder: Path) -> tuple[Figures, str]:
    """The figures of a small run, and what it said."""
    done = run(folder, "--quick", "--out", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return Figures.load(folder / "results.json"), done.stdout


def test_everybody_is_measured_or_says_why_not(small: tuple[Figures, str]) -> None:
    figures, said = small
    assert list(figures.workloads) == list(WORKLOADS)
    for name, workload in WORKLOADS.items():
        for kind in workload.contenders:
            measured = {measure for measure, found in figures.workloads[name].items() if found.samples.get(kind.name)}
            if kind.name in HERE:
                assert measured, f"nothing of {kind.name} in {name}"
            else:
                (note,) = [each for each in figures.notes if (each.workload, each.contender) == (name, kind.name)]
                assert (note.kind, measured) == ("absent", set())
                assert "is not installed" in note.text
                assert f"{kind.name} absent: {note.text}" in said


def test_every_figure_of_ours_is_there(small: tuple[Figures, str]) -> None:
    figures, said = small
    for name, measures in figures.workloads.items():
        for measure, found in measures.items():
            there = set(OURS) & {kind.name for kind in WORKLOADS[name].contenders}
            assert there <= set(found.samples), f"{name}: {measure}"
    assert {"put", "aput_writes", "get_tuple"} <= set(figures.workloads["micro"])
    assert {"turn 25", "storage 25", "cold read 10", "cold turn 10"} <= set(figures.workloads["growth"])
    assert {"processor", "cores", "python", "date", "command", "seconds"} <= set(figures.run)
    assert {"langgraph", "redis"} <= set(figures.run["packages"])
    assert {"SQLite", "Redis"} <= set(figures.run["servers"])
    assert all(target.name in said for target in TARGETS)


def test_all_is_made_again_from_the_figures(small: tuple[Figures, str], folder: Path) -> None:
    again = folder / "again"
    done = run(folder, "--from", str(folder / "results.json"), "--out", str(again))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (again / "results.json").read_bytes() == (folder / "results.json").read_bytes()
    assert "no pictures: the package matplotlib is not installed" in done.stdout
    figures, said = small
    for part in [*[table(figures, name) for name in figures.workloads], table_of_targets(figures)]:
        assert part in said
        assert part in done.stdout


@pytest.mark.parametrize(("who", "code"), [("our file", 1), ("SqliteSaver", 0)])
def test_who_failed_decides_how_it_ends(who: str, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Figures(notes=[Note("micro", who, "failed", "OSError: no")]).save(folder / "failed.json")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--from", str(folder / "failed.json"), "--out", str(folder / who)])
    assert command.main() == code


def test_the_readme_takes_no_part_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "--readme"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2


def test_the_readme_shows_the_results() -> None:
    text = README.read_text("utf-8")
    assert rewritten(text, Figures.load(command.RESULTS / "results.json")) == text


def made_up(**medians: float) -> Figures:
    figures = Figures(beside={"our file": "our file", "SqliteSaver": "our file"})
    for name, value in medians.items():
        figures.record("micro", "put", {"ours": "our file", "theirs": "SqliteSaver"}[name], value)
    return figures


PUT = {"put": ratio("micro", "put", "our file", "SqliteSaver")}
ERRORS = {"put": amount("micro", "put", "our file")}


@pytest.mark.parametrize(
    ("target", "figures", "reached", "met"),
    [
        (Target("t", 0.5, PUT), made_up(ours=1, theirs=2), "put 0.5", "met"),
        (Target("t", 0.5, PUT), made_up(ours=1.1, theirs=2), "put 0.55", "MISSED"),
        (Target("t", 3, PUT, least=True), made_up(ours=6, theirs=2), "put 3", "met"),
        (Target("t", 3, PUT, least=True), made_up(ours=5, theirs=2), "put 2.5", "MISSED"),
        (Target("t", 0.5, PUT), made_up(ours=1), "put -", "not measured"),
        (Target("t", 0, ERRORS), made_up(ours=0), "put 0", "met"),
        (Target("t", 0, ERRORS), made_up(ours=1), "put 1", "MISSED"),
        (Target("t", 1, {**PUT, "other": amount("micro", "get", "our file")}), made_up(ours=2, theirs=1),
         "put 2, other -", "MISSED"),
    ],
)  # fmt: skip
def test_targets(target: Target, figures: Figures, reached: str, met: str) -> None:
    assert list(rows_of_targets(figures, [target])) == [("t", target.wanted, reached, met)]


def test_a_median_is_compared_with_ours() -> None:
    figures = made_up(ours=0.001, theirs=0.004)
    figures.record("micro", "put", "SqliteSaver", 0.002)
    figures.record("micro", "put", "SqliteSaver", 0.03)
    assert table(figures, "micro").splitlines()[2:] == ["     our file  SqliteSaver", "put  1 ms      4 ms 4x"]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(0.00012345, "s", "123 us"), (-0.012, "s", "-12 ms"), (1.5, "s", "1.5 s"), (1536, "B", "1.5 KiB"), (0, "", "0")],
)
def test_amounts(value: float, unit: Unit, words: str) -> None:
    assert amount_of(value, unit) == words


def test_a_line_ends_where_its_contender_stopped() -> None:
    figures = Figures(beside={"our file": "our file", "SqliteSaver": "our file"})
    for turn, name in [(10, "our file"), (10, "SqliteSaver"), (20, "our file")]:
        figures.record("growth", f"turn {turn}", name, turn)
        figures.record("growth", f"storage {turn}", name, 1, "B")
    assert list(curves(figures, "turn")) == [("our file", [10, 20], [10, 20]), ("SqliteSaver", [10], [10])]


class Toy(Contender):
    name = beside = "toy"


class Other(Contender):
    name, beside = "other", "toy"


def race(say: Callable[[str], None] = lambda _: None) -> Race[Contender]:
    return Race(Stage(quick=True), Figures(), "game", [Toy, Other], say)


def test_rounds_take_turns_and_the_first_is_not_kept() -> None:
    game = race()
    order = []
    for contender in game.rounds(2):
        order.append(contender.name)
        game.record(contender, "value", len(order))
    assert order == ["other", "toy", "toy", "other", "other", "toy"]
    assert game.figures.workloads["game"]["value"].samples == {"toy": [3, 6], "other": [4, 5]}


def test_who_fails_or_is_slow_is_out_and_that_is_said() -> None:
    said: list[str] = []
    game = race(said.append)
    done = []
    for contender in game.rounds(3, budget=1e-9):
        with game.trying(contender):
            done.append(contender.name)
            if contender.name == "toy":
                raise ValueError("no more")
    assert done == ["other", "toy", "other"]
    toy, other = game.figures.notes
    assert toy == Note("game", "toy", "failed", "ValueError: no more")
    assert other == Note("game", "other", "stopped", "all: 1 of 3 rounds")
    assert any("ValueError: no more" in text for text in said)


def test_the_raw_client_does_the_very_same() -> None:
    assert list(commands(b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nEXEC\r\n")) == [(b"GET", b"\r\n"), (b"EXEC",)]
    with Stage(quick=True) as stage:
        client = RawClient(stage)
        after = client.recorded.everything()
        assert after == client.recorded.after
        with client.open() as again:
            found = drive(series(again, "", 0, ""))
        assert {name: len(seconds) for name, seconds in found.items()} == dict.fromkeys(MICRO, 10)
        assert sizes(client.recorded.everything()) == sizes(after)


MICRO = ("put", "put_writes", "get_tuple")


def sizes(rows: dict[bytes, bytes]) -> dict[bytes, int]:
    return {key: len(value) for key, value in rows.items()}
