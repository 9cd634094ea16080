"""A LangChain callback that records what models use.

Rule: it records when a call has ended, from what the model itself says of it. It never disturbs the run: what cannot
be recorded is logged by LangChain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult

from ..forks import Lock

_MOST = 10_000  # calls under way that are remembered; those that never end shall not stay for ever


class UsageHandler(BaseCallbackHandler):
    """Records tokens, calls and seconds of each call of a model, by phase and model, sync and async."""

    def __init__(self, record: Callable[..., None], phase: str | None = None, place: str | None = None) -> None:
        super().__init__()
        self.place = place
        """Where it is recorded."""
        self._record = record
        self._phase = phase
        self._lock = Lock()
        self._begun: dict[UUID, tuple[float, str, str]] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: Any,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A call of a chat model begins."""
        self._begin(run_id, metadata or {})

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A call of another model begins."""
        self._begin(run_id, metadata or {})

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """A call has ended: record it."""
        with self._lock:
            begun, phase, model = self._begun.pop(run_id, (time.monotonic(), self._phase or "chat", ""))
        tokens: dict[str, int] = {"input_tokens": 0, "output_tokens": 0, "cached_tokens": 0}
        for generations in response.generations:
            message = getattr(next(iter(generations), None), "message", None)  # each says what all of them used
            named, used = told_by(message)
            model = named or model
            for name, number in used.items():
                tokens[name] += number
        self._record(phase, str(model), seconds=time.monotonic() - begun, **tokens)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A call has failed: nothing is known of what it used."""
        with self._lock:
            self._begun.pop(run_id, None)

    def _begin(self, run_id: UUID, metadata: dict[str, Any]) -> None:
        phase = self._phase or metadata.get("langgraph_node") or "chat"
        with self._lock:
            if len(self._begun) >= _MOST:
                self._begun.pop(next(iter(self._begun)))
            self._begun[run_id] = (time.monotonic(), str(phase), str(metadata.get("ls_model_name") or ""))


def told_by(message: Any) -> tuple[str, dict[str, int]]:
    """What a message says of the model that made it, and of the tokens."""
    said = getattr(message, "usage_metadata", None) or {}
    named = getattr(message, "response_metadata", None) or {}
    return named.get("model_name") or named.get("model") or "", {
        "input_tokens": said.get("input_tokens", 0),
        "output_tokens": said.get("output_tokens", 0),
        "cached_tokens": (said.get("input_token_details") or {}).get("cache_read", 0) or 0,
    }
