"""The command as a process: how it starts, ends, and behaves towards terminals, pipes and whoever interrupts it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from cli import reference
from cli.conftest import Command, in_a_process
from support.kept import with_graph
from support.ports import free_port
from support.servers import RedisServer

from langgraph_sessionstore import SessionManager, __version__
from langgraph_sessionstore.cli.app import perform

BIN = Path(sys.executable).parent


def test_it_has_two_names() -> None:
    for start in ([sys.executable, "-m", "langgraph_sessionstore"], [str(BIN / "sessionstore")]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"{__version__}\n"


def test_without_its_packages_it_says_what_to_install() -> None:
    for missing in ("typer", "rich"):
        code = f"import sys; sys.modules['{missing}'] = None; from langgraph_sessionstore.cli import main; main(['ls'])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.endswith('python -m pip install "langgraph-sessionstore[cli]"\n')
        assert "Traceback" not in done.stderr


def test_the_library_does_without_them() -> None:
    code = "import sys, langgraph_sessionstore.manager; print([m for m in ('typer', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_storage_has_to_be_named_and_there(tmp_path: Path, capsys: Any) -> None:
    assert perform(["ls"]) == 2
    assert "SESSIONSTORE_URL" in capsys.readouterr().err
    for name in ("ls", "stats", "check"):
        assert perform([name, "--url", str(tmp_path / "typo")]) == 2
        assert capsys.readouterr().err.startswith(f"error: there is no storage at {tmp_path}/typo")
    assert perform(["ls", "--url", f"file:{tmp_path}/typo"]) == 2
    assert not (tmp_path / "typo").exists()
    assert perform(["ls", "--url", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    assert perform(["ls", "--url", str(tmp_path / "file")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_server_that_is_away_and_a_password_that_is_wrong(own_redis: RedisServer, capsys: Any) -> None:
    address = f"{own_redis.host}:{own_redis.port}"
    own_redis.ask("CONFIG", "SET", "requirepass", "right")
    assert perform(["ls", "--url", f"redis://:wr0ng@{address}"]) == 1
    refused = capsys.readouterr().err
    assert refused.startswith("error: ")
    assert "wr0ng" not in refused
    own_redis.stop()
    assert perform(["ls", "--url", f"redis://:wr0ng@{address}?patience=0.1"]) == 1
    away = capsys.readouterr().err
    assert away.startswith("error: Redis could not be reached")
    assert "wr0ng" not in away


async def _many(url: str, number: int) -> None:
    async with SessionManager.from_url(url) as manager:
        for first in range(0, number, 500):
            some = range(first, min(first + 500, number))
            await asyncio.gather(*(manager.acreate_session(f"session-{each:05}", title="x" * 100) for each in some))


@pytest.mark.long
def test_ten_thousand_sessions_are_listed_in_bounded_memory(tmp_path: Path, capfd: Any) -> None:
    url = str(tmp_path / "sessions")
    asyncio.run(_many(url, 10_000))
    tracemalloc.start()
    try:
        for more in ([], ["--json"]):
            capfd.readouterr()
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            assert perform(["ls", "--url", url, "--all", "--sort", "created", "--oldest", *more]) == 0
            assert tracemalloc.get_traced_memory()[1] - before < 3_000_000
            out = capfd.readouterr().out
            ids = (
                [info["id"] for info in json.loads(out)["sessions"]] if more else re.findall(r"^\S+", out, re.MULTILINE)
            )
            assert ids == [f"session-{number:05}" for number in range(10_000)]
    finally:
        tracemalloc.stop()
    assert perform(["ls", "--url", url, "--count"]) == 0
    assert capfd.readouterr().out == "10000\n"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_piping_into_head_does_not_crash(tmp_path: Path, more: list[str]) -> None:
    url = str(tmp_path / "sessions")
    asyncio.run(_many(url, 1500))
    command = [sys.executable, "-m", "langgraph_sessionstore", "ls", "--all", "--url", url, *more]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer,
        subprocess.Popen(["head", "-n", "2"], stdin=writer.stdout, stdout=subprocess.PIPE) as head,
    ):
        assert writer.stdout is not None
        writer.stdout.close()
        assert head.communicate(timeout=60)[0].count(b"\n") == 2
        assert writer.stderr is not None
        assert writer.stderr.read() == b""
        assert writer.wait(60) == 141


def _seen(command: list[str]) -> str:
    """What a terminal of 100 columns shows."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=follower, stderr=follower, stdin=subprocess.DEVNULL, env=env) as process:
        os.close(follower)
        seen = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
        process.wait(60)
    os.close(leader)
    return seen.decode()


def test_a_terminal_gets_tables_and_nothing_that_was_stored_controls_it(tmp_path: Path) -> None:
    url = str(tmp_path / "sessions")
    with SessionManager.from_url(url) as manager:
        manager.create_session("evil\x1b]0;x\x07", title="clear\x1b[2J [red]me[/red]", metadata={"a\x1b": "\x9b"})
        manager.create_session("日本", title="\u202eabc")
    start = [sys.executable, "-m", "langgraph_sessionstore"]
    seen = _seen([*start, "ls", "--url", url])
    assert re.search(r"id +.*title +.*used +.*created", seen)
    assert "clear\\x1b[2J" in seen
    assert "[red]me[/red]" in seen
    assert "日本" in seen
    assert "\\u202eabc" in seen
    shown = _seen([*start, "show", "evil\x1b]0;x\x07", "--url", url])
    for text in (seen, shown):
        assert "\x1b[2J" not in text
        assert "\x1b]0" not in text
        assert "\x9b" not in text


def test_names_that_no_encoding_has(tmp_path: Path) -> None:
    url = str(tmp_path / "sessions")
    with SessionManager.from_url(url) as manager:
        manager.create_session("a\ud800b", title="日本")
    done = in_a_process("ls", "--url", url, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a\\ud800b\t\\u65e5\\u672c\t")
    document = json.loads(in_a_process("ls", "--url", url, "--json").stdout)
    assert document["sessions"][0]["id"] == "a\ud800b"


def test_stats_check_and_bench(command: Command, manager: SessionManager) -> None:
    manager.create_session("small")
    manager.create_session("large", messages=["x" * 5000])
    manager.store.put(("users", "ann"), "diet", {"likes": "noodles"})
    stats = command("stats", "--json").json
    assert stats["sessions"] == 2
    assert [each["id"] for each in stats["largest"]] == ["large", "small"]
    assert stats["largest"][0]["bytes"] > 5000
    assert stats["bytes"] == sum(kind["bytes"] for kind in stats["kinds"].values())
    assert stats["store"]["items"] == 1
    rows = dict(row for row in command("stats", "-n", "1").rows if len(row) == 2)
    assert rows["sessions"] == "2"
    assert rows["large"].endswith("KB")
    assert "small" not in rows
    assert command("check").out == "2 sessions checked: all is well\n"
    assert command("check", "small", "--json").json == {"checked": 1, "problems": 0, "repaired": 0, "found": []}
    bench = command("bench", "--turns", "3", "--json").json
    assert bench["turns"] == 3
    assert all(0 < call["median"] <= call["p95"] for call in bench["calls"].values())
    assert len(command("bench", "-t", "2").rows) == len(bench["calls"])
    assert sorted(info.id for info in manager.list_sessions()) == ["large", "small"]
    assert manager.store.list_namespaces() == [("users", "ann")]


def test_the_readme_has_every_command_as_its_help_has_it(capsys: Any) -> None:
    text = reference.README.read_text("utf-8")
    assert text.partition(reference.BEGIN)[2].partition(reference.END)[0] == reference.reference()
    assert perform(["--help"]) == 0
    help_ = capsys.readouterr().out
    for name, command in reference.commands().items():
        assert name in help_
        assert perform([name, "--help"]) == 0
        own = capsys.readouterr().out
        for what, meaning in reference.options(command):
            assert what.split()[0].rstrip(",") in own, (name, what)
            assert meaning.split()[0] in own, (name, what)
            assert meaning, (name, what)


def test_the_commands_that_the_readme_shows_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with SessionManager.from_url("./sessions") as manager:
        with_graph(manager, "trip").update(metadata={"user": "ann"})
    section = reference.README.read_text("utf-8").partition("## The command line")[2]
    lines = re.findall(r"^\$ (.*)$", section.partition("```console\n")[2].partition("```")[0], re.MULTILINE)
    commands = [shlex.split(line) for line in lines]
    assert [words[0] for words in commands[:2]] == ["python", "export"]
    name, _, value = commands[1][1].partition("=")
    monkeypatch.setenv(name, value)
    for words in commands[2:]:
        assert words[0] == "sessionstore"
        assert perform(words[1:]) == 0, (words, capsys.readouterr().err)


@pytest.mark.parametrize("more", [["ls"], ["ls", "--json"], ["show", "a"], ["--help"]])
def test_an_output_that_is_full_or_closed_is_told_in_a_sentence(tmp_path: Path, more: list[str]) -> None:
    url = str(tmp_path / "sessions")
    with SessionManager.from_url(url) as manager:
        manager.create_session("a")
    command = [sys.executable, "-m", "langgraph_sessionstore", *more]
    env = {**os.environ, "SESSIONSTORE_URL": url}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "No space left" in done.stderr
    shell = ["sh", "-c", 'exec "$@" >&- <&-', "sh", *command]
    closed = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False, env=env)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_command_that_is_interrupted_while_it_loads_ends_with_130(tmp_path: Path) -> None:
    code = """
import os, signal, sys
class Interrupting:
    @staticmethod
    def find_spec(name, *_):
        if name == "langgraph_sessionstore.cli.caring":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting)
from langgraph_sessionstore.cli import main
main(["ls"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_server_that_is_not_there_is_told_in_a_sentence(capsys: Any) -> None:
    for more in ([], ["--json"]):
        assert perform(["ls", *more, "--url", f"redis://127.0.0.1:{free_port()}?patience=0"]) == 1
        out, err = capsys.readouterr()
        assert (out, err.startswith("error: Redis could not be reached")) == ("", True)


def test_storages_that_are_of_no_use(command: Command, url: str, tmp_path: Path, manager: SessionManager) -> None:
    manager.create_session("a")
    for arguments, words in (
        (["copy", "memory:"], "memory: begins empty"),
        (["copy", url], "onto itself"),
        (["ls", "--url", "memory:"], "memory: begins empty"),
        (["copy", str(tmp_path / "new"), "-s", "nobody"], "no session 'nobody'"),
        (["import", str(tmp_path / "nofile"), "--url", str(tmp_path / "new")], "no such file"),
    ):
        done = command(*arguments)
        assert done.code in (1, 2)
        assert words in done.err
    assert not (tmp_path / "new").exists()
    assert command("bench", "--turns", "1", "--url", "memory:").code == 0
