"""A model that talks on a session: text, pieces, data, tools; one turn is stored as a whole or not at all.

    python -m pip install ".[langchain]" && python examples/conversation.py [URL]

Runs on the embedded default, a directory; with another URL, such as redis://localhost:6379, it does the same there.
The model is scripted, so that no network and no API key is needed. For a real one write its name: "openai:gpt-5".
"""

import asyncio
import sys
import tempfile
import uuid
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langgraph_sessionstore import InvalidAnswer, SessionManager
from langgraph_sessionstore.strategies import Window


class Clerk(BaseChatModel):
    """Answers by rules, from what it is sent, as a model would."""

    @property
    def _llm_type(self) -> str:
        return "clerk"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """It knows them by their names."""
        return self.bind(tools=[getattr(each, "name", getattr(each, "__name__", "")) for each in tools])

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        answer = self._answer(messages, kwargs.get("tools", ()))
        size = 9 * len(messages)
        answer.usage_metadata = {"input_tokens": size, "output_tokens": 5, "total_tokens": size + 5}
        answer.response_metadata = {"model_name": "clerk"}
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _answer(self, messages: list[BaseMessage], tools: Any) -> AIMessage:
        said = messages[-1].text
        if "Ticket" in tools:
            urgency = "high" if "broken" in said else "whatever"
            return AIMessage("", tool_calls=[{"name": "Ticket", "args": {"urgency": urgency}, "id": str(uuid.uuid4())}])
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(f"Order 7 is {said}.")
        if "order" in said and "find_order" in tools:
            return AIMessage("", tool_calls=[{"name": "find_order", "args": {"number": 7}, "id": str(uuid.uuid4())}])
        found = next((each.text for each in messages if isinstance(each, ToolMessage)), None)
        return AIMessage(f"As I saw before, it is {found}." if found else f"You said: {said}")


class Ticket(BaseModel):
    """What a message is about."""

    urgency: str = Field(pattern="high|low")


@tool
def find_order(number: int) -> str:
    """Look an order up."""
    return "on its way"


async def another_worker(url: str, session_id: str) -> None:
    """Goes on with the conversation, with nothing but its id."""
    async with SessionManager.from_url(url) as manager:
        session = await manager.aget_session(session_id)
        assert session is not None
        chat = session.conversation(Clerk(), tools=[find_order], strategy=Window(20))
        print("another worker: ", end="")
        async for piece in chat.astream("When will it arrive?"):
            print(piece.text, end="", flush=True)
        print()


def main(url: str) -> None:
    """Classify, look up, answer, go on elsewhere, fork."""
    with SessionManager.from_url(url, prices={"clerk": (200, 800)}) as manager:
        session = manager.create_session(f"support-{uuid.uuid4()}", system="You work for a shop.")
        triage = session.conversation(Clerk(), phase="triage")
        print("urgency:", triage.json("My laptop arrived broken!", Ticket).urgency)
        try:
            triage.json("Hm.", Ticket)
        except InvalidAnswer as exc:
            print("not stored:", str(exc).splitlines()[0])
        print("messages:", len(session))

        agent = session.conversation(Clerk(), tools=[find_order], phase="support")
        print("agent:", agent.run("Where is my order?").text)
        asyncio.run(another_worker(url, session.id))

        other = agent.fork()
        other.run("Never mind.")
        print(f"{len(session)} messages here, {len(other.session)} in the fork")
        print(session.show_messages())
        print(session.show_cost())
        manager.delete_session(session.id)
        manager.delete_session(other.session.id)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
