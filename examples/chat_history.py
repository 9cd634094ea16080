"""Drop-in chat history for LangChain: a chain that remembers, whichever process it runs in.

    python -m pip install . && python examples/chat_history.py [URL]

Runs on the embedded default, a directory; with another URL, such as redis://localhost:6379, it does the same there.
The model is scripted, so that nothing but this library is needed.
"""

import sys
import tempfile
import uuid

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from langgraph_sessionstore import SessionManager
from langgraph_sessionstore.strategies import window

prompt = ChatPromptTemplate([("system", "You are a guide."), MessagesPlaceholder("history"), ("user", "{question}")])
model = GenericFakeChatModel(messages=iter([AIMessage("Kyoto."), AIMessage("As I said: Kyoto.")]))
chain = prompt | model


def ask(url: str, session_id: str, question: str) -> str:
    """One turn, as a worker of a web server would do it: all that it knows lies in the session."""
    with SessionManager.from_url(url) as manager:
        history = manager.history(session_id)
        recorder = history.session.usage_handler("chat")
        earlier = window(history.session, last=20)
        answer = chain.invoke({"history": earlier, "question": question}, {"callbacks": [recorder]})
        history.add_messages([*ChatPromptTemplate([("user", question)]).format_messages(), answer])
        return str(answer.text)


def main(url: str) -> None:
    """Two turns, in two lives of a worker."""
    session_id = f"guide-{uuid.uuid4()}"
    print(ask(url, session_id, "Where shall I go?"))
    print(ask(url, session_id, "Really?"))
    with SessionManager.from_url(url) as manager:
        session = manager.get_session(session_id)
        assert session is not None
        print(session.show_messages())
        print("calls:", session.metrics.total_calls)
        session.delete()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"{directory}/sessions")
