"""An agent that remembers people across conversations: facts in the store, found by what they mean.

    python -m pip install ".[vectors]" langgraph && python examples/memory_agent.py [URL]

Runs on the embedded default, a directory; with another URL, such as redis://localhost:6379, it does the same there.
The model is scripted and the embedding counts words, so that no network and no key is needed. With a real one, such as
`"embed": init_embeddings("openai:text-embedding-3-small")`, nothing else changes.
"""

import sys
import tempfile
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime

from langgraph_sessionstore import SessionManager


def embed(texts: Sequence[str]) -> list[list[float]]:
    """One dimension for each word, more or less: texts that share words are near each other."""
    vectors = []
    for text in texts:
        vector = [0.0] * 256
        for word in text.lower().replace("?", " ").replace(".", " ").split():
            vector[zlib.crc32(word.encode()) % 256] += 1
        vectors.append(vector)
    return vectors


@dataclass
class Person:
    """Who talks to the agent."""

    name: str


def agent(state: MessagesState, runtime: Runtime[Person]) -> dict[str, Any]:
    """Answer a question from memory, and remember everything else."""
    store = runtime.store
    assert store is not None
    text, facts = state["messages"][-1].text, ("facts", runtime.context.name)
    if text.endswith("?"):
        found = store.search(facts, query=text, limit=1)
        return {"messages": [AIMessage(f"You told me: {found[0].value['text']}" if found else "I do not know.")]}
    store.put(facts, str(uuid.uuid4()), {"text": text})
    return {"messages": [AIMessage("I will remember that.")]}


builder = StateGraph(MessagesState, context_schema=Person).add_node("agent", agent).add_edge(START, "agent")


def talk(url: str, name: str, lines: Sequence[str]) -> None:
    """A conversation of its own, in a life of its own of a worker."""
    with SessionManager.from_url(url, index={"dims": 256, "embed": embed, "fields": ["text"]}) as manager:
        graph = builder.compile(checkpointer=manager.checkpointer, store=manager.store)
        session = manager.create_session()
        for line in lines:
            graph.invoke({"messages": [HumanMessage(line)]}, session.config, context=Person(name))
        print(session.show_messages())
        session.delete()  # the conversation goes, the facts stay


def main(url: str) -> None:
    """Tell it something, ask in another conversation, and have it forget."""
    name = f"ann-{uuid.uuid4()}"
    talk(url, name, ["My sister Eva lives in Osaka.", "I do not eat fish.", "My train leaves at noon."])
    talk(url, name, ["Where does my sister live?", "Which fish do I eat?"])
    talk(url, f"bob-{uuid.uuid4()}", ["Where does my sister live?"])
    with SessionManager.from_url(url) as manager:
        for item in manager.store.search(("facts", name), limit=100):
            manager.store.delete(item.namespace, item.key)
        print("left:", manager.store.search(("facts", name)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
