"""What the calls of one turn have used: collected, to be stored with the turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.messages import AIMessage
from langchain_core.outputs import LLMResult

from ..adapters.usage_handler import UsageHandler, told_by
from ..plans.accounts import Call
from ..usage import Usage

if TYPE_CHECKING:
    from ..session import Session


class Spending(UsageHandler):
    """A callback that collects calls, and knows what the model said last."""

    run_inline = True  # it does no I/O, so async callers need no thread for it

    def __init__(self, session: Session, phase: str | None) -> None:
        super().__init__(self._add, phase, session._place)
        self._session = session
        self.calls: list[Call] = []
        self.seen = False
        """Whether a model was seen at work; or is seen by somebody else, who records it here."""
        self.said: AIMessage | None = None

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """A call has ended."""
        for generation in response.generations[0][:1] if response.generations else ():
            message = getattr(generation, "message", None)
            self.said = message if isinstance(message, AIMessage) else None
        self.seen = True
        super().on_llm_end(response, run_id=run_id, **kwargs)

    def of(self, answer: AIMessage) -> None:
        """What an answer says of its own use, when no model was seen at work."""
        if answer.usage_metadata is not None and not self.seen:
            model, tokens = told_by(answer)
            self._add(self._phase or "chat", model, **tokens)

    def _add(
        self,
        phase: str,
        model: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_tokens: int = 0,
        seconds: float = 0.0,
    ) -> None:
        used = Usage(1, input_tokens, output_tokens, cached_tokens, seconds)
        self.calls.append(self._session._call(phase, str(model), used))
