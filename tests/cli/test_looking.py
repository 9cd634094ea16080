"""Commands that look: they say what is there, and nothing of what was said unless they are asked for it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from cli.conftest import Command, in_a_process
from langchain_core.messages import AIMessage
from support.kept import graph_on, said, with_graph, with_log
from support.odd import ODD, Loud, odd_graph

from langgraph_sessionstore import SessionManager


def test_ls_names_the_session_that_was_used_last_first(command: Command, manager: SessionManager) -> None:
    for name in ("a", "b", "c"):
        manager.create_session(name, title=f"Title of {name}")
    manager.create_session("d", metadata={"level": 3, "user": "ann"})
    later = time.time_ns() // 1_000_000 + 2
    while time.time_ns() // 1_000_000 < later:  # the list knows milliseconds
        time.sleep(0.001)
    manager.get_session("a").append("user", "x")  # type: ignore[union-attr]
    assert [row[:2] for row in command("ls").rows] == [
        ["a", "Title of a"],
        ["d", ""],
        ["c", "Title of c"],
        ["b", "Title of b"],
    ]
    assert [row[0] for row in command("ls", "--oldest").rows] == ["b", "c", "d", "a"]
    assert [row[0] for row in command("ls", "--sort", "created").rows] == ["d", "c", "b", "a"]
    assert [row[0] for row in command("ls", "-f", "user=ann", "--filter", "level=3").rows] == ["d"]
    assert command("ls", "-f", "user=bob") == (0, "", "no sessions with this metadata\n")
    assert command("ls", "--count").out == "4\n"
    assert command("ls", "--count", "-f", "level=3", "--json").json == {"count": 1}


def test_ls_pages(command: Command, manager: SessionManager) -> None:
    names = [f"s{number}" for number in range(7)]
    for name in names:
        manager.create_session(name)
    found: list[str] = []
    cursor: list[str] = []
    pages = 0
    while True:
        page = command("ls", "--sort", "created", "--oldest", "-n", "3", *cursor)
        found += [row[0] for row in page.rows]
        pages += 1
        if "--cursor" not in page.err:
            break
        cursor = ["--cursor", page.err.split("--cursor ")[1].strip()]
    assert (found, pages) == (names, 3)
    as_json = command("ls", "-n", "3", "--json").json
    assert len(as_json["sessions"]) == 3
    again = command("ls", "-n", "9", "--json", "--cursor", as_json["cursor"]).json
    assert len(again["sessions"]) == 4
    assert again["cursor"] is None
    everything = command("ls", "-n", "2", "--all", "--json").json
    assert sorted(info["id"] for info in everything["sessions"]) == names
    assert sorted(row[0] for row in command("ls", "-n", "2", "--all").rows) == names
    assert command("ls", "--cursor", "nonsense").code == 2


def test_show_tells_all_but_what_was_said(command: Command, manager: SessionManager) -> None:
    with_log(manager)
    shown = command("show", "log")
    facts = dict(row for row in shown.rows if len(row) == 2)
    assert shown.code == 0
    assert facts["title"] == "A trip"
    assert facts["metadata.user"] == "ann"
    assert facts["system"] == "text, 13 characters"
    assert facts["summary"] == "text, 14 characters"
    assert facts["messages"] == "3 (2 human, 1 ai), in the log"
    assert facts["usage"] == "Cost: $0.2500 | Calls: 1 | Time: 0.0s"
    document = command("show", "log", "--json").json
    assert document["messages"] == {"count": 3, "by_role": {"human": 2, "ai": 1}, "in": "log"}
    assert document["usage"] == {"calls": 1, "tokens": 15, "cost": 0.25}
    open_ = command("show", "log", "--content").out
    assert all(words in open_ for words in ("secret prompt", "secret summary", "secret one", "secret three"))
    said_ = command("show", "log", "--json", "--content").json
    assert [message["text"] for message in said_["messages"]["content"]] == ["secret one", "secret two", "secret three"]
    assert (said_["summary"], said_["system"]) == ("secret summary", "secret prompt")


def test_show_draws_checkpoints_with_their_forks(command: Command, manager: SessionManager) -> None:
    with_graph(manager)
    lines = command("show", "graph").out.split("checkpoints, the oldest first:\n")[1].splitlines()
    assert [line.partition(" *")[0] if line.startswith("|") else line[0] for line in lines] == (
        ["*", "*", "*", "|\\", "| ", "| ", "*", "*", "*"]
    )
    steps = [line.split("step ")[1] for line in lines]
    assert steps == ["-1  input", "0  loop", "1  loop", *(["2  input", "3  loop", "4  loop"] * 2)]
    checkpoints = command("show", "graph", "--json", "-n", "0").json["checkpoints"]
    assert len(checkpoints) == 9
    few = command("show", "graph", "--json", "-n", "2").json
    assert (len(few["checkpoints"]), few["older_checkpoints"]) == (2, True)
    assert "the last 2" in command("show", "graph", "-n", "2").out


def test_state_and_diff_show_kinds_and_values_only_when_asked(command: Command, manager: SessionManager) -> None:
    session = with_graph(manager)
    ids = [each["checkpoint_id"] for each in command("show", "graph", "--json").json["checkpoints"]]
    shown = command("state", "graph")
    assert ["messages", "4 messages"] in shown.rows
    assert ["mood", "Mood"] in shown.rows
    first = command("state", "graph", "--checkpoint", ids[6], "--json").json
    assert first["channels"]["messages"] == {"what": "2 messages"}
    whole = command("state", "graph", "--json", "--content").json
    assert whole["channels"]["mood"]["value"] == {"mood": "secretly glad"}
    assert whole["channels"]["messages"]["value"][2]["text"] == "secret Osaka"
    assert "secret Osaka" in command("state", "graph", "--content").out

    step = command("diff", "graph").out
    assert "+ messages: at 3: 1 item new (ai message, " in step
    assert "~ files: 1 key changed" in step
    both = command("diff", "graph", ids[3], ids[0], "--json").json
    assert (both["before"], both["after"]) == (ids[3], ids[0])
    (change,) = [each for each in both["changes"] if each["channel"] == "messages"]
    assert change["what"].startswith("at 2: 2 items gone, 2 items new")
    told = command("diff", "graph", ids[3], ids[0], "--content").out
    assert '-     "text": "secret Kyoto"' in told
    assert '+     "text": "secret Osaka"' in told
    assert command("diff", "graph", ids[0], ids[0]).err.endswith("no difference\n")
    assert command("diff", "graph", "latest", ids[-1]).code == 0
    manager.checkpointer.copy_thread("graph", "pruned")
    manager.checkpointer.prune(["pruned"])
    alone = command("diff", "pruned", "--json").json
    assert (alone["before"], {each["change"] for each in alone["changes"]}) == (None, {"added"})

    graph_on(manager.checkpointer).invoke(said("ask"), session.config)
    pending = command("state", "graph", "--json").json["pending"]
    assert [each["channel"] for each in pending] == ["__interrupt__"]
    assert "Secret question?" in command("state", "graph", "--content").out


def test_nothing_that_was_said_is_printed_without_being_asked_for(command: Command, manager: SessionManager) -> None:
    with_log(manager)
    session = with_graph(manager)
    graph_on(manager.checkpointer).invoke(said("ask"), session.config)
    for arguments in (
        ["ls"], ["ls", "--all"], ["show", "log"], ["show", "graph"], ["state", "graph"], ["diff", "graph"],
        ["stats"], ["check"], ["undo", "log"], ["redo", "log"], ["rm", "log", "--dry-run"],
        ["rm", "--older-than", "0s", "--dry-run"],
        ["rewind", "graph", "--turns", "1"], ["fork", "graph", "other"], ["prune", "graph", "--keep-latest", "--yes"],
        ["rm", "log", "--yes"],
    ):  # fmt: skip
        for more in ([], ["--json"]):
            if more and arguments[0] in ("undo", "redo", "rewind", "fork", "rm") and "--dry-run" not in arguments:
                continue
            done = command(*arguments, *more)
            assert done.code == 0, (arguments, done.err)
            assert "ecret" not in (done.out + done.err).replace("secretly glad", ""), arguments


def test_types_that_are_not_loaded_are_shown_by_their_names(
    command: Command, manager: SessionManager, url: str
) -> None:
    with_graph(manager)
    code = "import sys; from langgraph_sessionstore.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "state", "graph", "--url", url, "--json", "--content"],
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    mood = json.loads(done.stdout)["channels"]["mood"]
    assert mood["what"] == "support.kept.Mood"
    assert mood["value"] == {"type": "support.kept.Mood", "fields": {"mood": "secretly glad"}}


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_messages_of_a_type_that_is_not_loaded_are_messages(manager: SessionManager, url: str) -> None:
    messages: list[Any] = [("user", "hello"), Loud(content="HI", id="1")]
    manager.create_session("log", messages=messages)
    graph = graph_on(manager.checkpointer)
    graph.update_state({"configurable": {"thread_id": "graph"}}, {"messages": messages})
    done = in_a_process("show", "log", "--url", url, "--json", "--content")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)["messages"]
    assert shown["by_role"] == {"human": 1, "ai": 1}
    loud = shown["content"][1]
    assert (loud["type"], loud["class"], loud["text"]) == ("ai", "support.odd.Loud", "HI")
    assert loud["fields"]["volume"] == 11
    text = in_a_process("show", "graph", "--url", url, "--content").stdout
    assert "messages\t2 (1 human, 1 ai), in the graph, channel messages\n" in text
    assert "1 ai support.odd.Loud\n    HI\n" in text
    channels = json.loads(in_a_process("state", "graph", "--url", url, "--json").stdout)["channels"]
    assert channels["messages"] == {"what": "2 messages"}


def test_what_was_said_is_more_than_text(command: Command, manager: SessionManager) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:secret"}}
    called = {"name": "weather", "args": {"city": "Zürich"}, "id": "1", "type": "tool_call"}
    content: list[str | dict[str, Any]] = [{"type": "text", "text": "Look"}, picture]
    manager.create_session(
        "log", messages=[AIMessage(content, tool_calls=[called]), AIMessage("", tool_calls=[called])]
    )
    shown = command("show", "log", "--content").out
    assert '0 ai\n    Look\n    [image_url]\n    -> weather {"city": "Zürich"}\n' in shown
    assert '1 ai\n    -> weather {"city": "Zürich"}\n' in shown
    first, second = command("show", "log", "--content", "--json").json["messages"]["content"]
    calls = [{"name": "weather", "args": {"city": "Zürich"}}]
    assert first == {"type": "ai", "id": None, "text": "Look", "parts": [picture], "tool_calls": calls}
    assert second == {"type": "ai", "id": None, "text": "", "tool_calls": calls}


def test_whatever_a_value_is_it_is_shown(command: Command, manager: SessionManager) -> None:
    config = {"configurable": {"thread_id": "odd"}}
    graph = odd_graph(manager.checkpointer)
    graph.invoke({"values": {"nothing": None}}, config)
    before = graph.get_state(config).config["configurable"]["checkpoint_id"]
    graph.invoke({"values": ODD}, config)
    for more in ([], ["--content"], ["--json"], ["--content", "--json"]):
        for name in (["state", "odd"], ["diff", "odd", before]):
            done = command(*name, *more)
            assert done.code == 0, done.err
            assert "--json" not in more or json.loads(done.out, parse_constant=pytest.fail)
    values = command("state", "odd", "--content", "--json").json["channels"]["values"]["value"]
    assert (values["bytes"], values["number"]) == ("__4=", hex(10**5000))
    assert (values["\ud800"], values["nan"], values["infinite"]) == (["\ud800", "green"], "nan", ["-inf"])
    assert values["keys"] == {"int": 1, "(1, 2)": 2, "Place(name='Rome')": 3, "b'\\xff'": 4}
    assert sorted(each["name"] for each in values["places"]) == ["Oslo", "Rome"]
    assert values["model"] == {"id": None, "metadata": {"far": "inf"}, "page_content": "", "type": "Document"}
    deep = values["deep"]
    while isinstance(deep, list):
        (deep,) = deep
    assert deep == "list, 1 item"


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_arrays_need_no_numpy(manager: SessionManager, url: str) -> None:
    config = {"configurable": {"thread_id": "arrays"}}
    graph = odd_graph(manager.checkpointer)
    graph.invoke({"values": np.zeros((2, 3))}, config)
    graph.invoke({"values": np.float32(1)}, config)
    last, _, _, first, *_ = [each.config["configurable"]["checkpoint_id"] for each in graph.get_state_history(config)]
    shown = json.loads(in_a_process("state", "arrays", "-c", first, "--content", "--json", "--url", url).stdout)
    fields = {"dtype": "<f8", "shape": [2, 3], "order": "C", "data": "A" * 64}
    what = {"what": "numpy.ndarray of <f8, 2 x 3", "value": {"type": "numpy.ndarray", "fields": fields}}
    assert shown["channels"]["values"] == what
    changed = in_a_process("diff", "arrays", first, last, "--url", url).stdout
    assert changed == "~ values: numpy.ndarray of <f8, 2 x 3 -> numpy.generic of <f4\n"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("trip-japn", "'trip-japan', 'trip-korea'"),
        ("trip", "'trip-japan', 'trip-korea'"),
        ("TRIP-JAPAN", "'trip-japan', 'trip-korea'"),
        ("", ""),
        ("ümlaut", "'umlaut'"),
    ],
)
@pytest.mark.parametrize("name", ["show", "rm", "check"])
def test_who_names_no_session_hears_what_may_have_been_meant(
    command: Command, manager: SessionManager, name: str, wrong: str, meant: str
) -> None:
    for each in ("trip-japan", "trip-korea", "umlaut", "other"):
        manager.create_session(each)
    if name == "check" and not wrong:
        return  # that checks all
    done = command(name, wrong, *(["--yes"] if name == "rm" else []))
    assert done.code == 1
    hint = f"; did you mean {meant}?" if meant else ""
    assert done.err == f"error: there is no session {wrong!r}{hint}\n"
    assert manager.count_sessions() == 4


def test_checkpoints_are_named_by_how_they_begin(command: Command, manager: SessionManager) -> None:
    with_graph(manager)
    ids = [each["checkpoint_id"] for each in command("show", "graph", "--json").json["checkpoints"]]
    unknown = command("state", "graph", "--checkpoint", "zzz")
    assert (unknown.code, "no checkpoint 'zzz'" in unknown.err) == (1, True)
    several = command("state", "graph", "--checkpoint", ids[0][:2])
    assert (several.code, "is the beginning of 9 checkpoints" in several.err) == (1, True)
    assert command("state", "graph", "--checkpoint", ids[4][:-3], "--json").json["checkpoint_id"] == ids[4]
    assert "has no checkpoint" in command("state", "graph", "--ns", "elsewhere").err
    with_log(manager)
    assert "has no checkpoint" in command("state", "log").err
