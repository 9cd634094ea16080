"""How an agent with tools is built for one turn."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from pydantic import BaseModel


class Sent(AgentMiddleware[Any, Any]):
    """What the model is sent: a choice of what was said before, all that is new; and the options of the call."""

    def __init__(
        self,
        before: Sequence[BaseMessage],
        chosen: Sequence[BaseMessage] | None,
        options: Mapping[str, Any],
        config: RunnableConfig,
    ) -> None:
        super().__init__()
        self._before = [message.id for message in before]
        self._chosen = chosen
        self._options = options
        self._config = config

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Ask the model."""
        return handler(self._change(request))

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The async form of `wrap_model_call`."""
        if sys.version_info >= (3, 11):
            return await handler(self._change(request))
        # there asyncio's tasks do not know the config in which they run
        known: Any = {name: self._config.get(name) for name in ("callbacks", "tags", "metadata")}
        token = var_child_runnable_config.set(known)
        try:
            return await handler(self._change(request))
        finally:
            var_child_runnable_config.reset(token)

    def _change(self, request: Any) -> Any:
        messages, size = request.messages, len(self._before)
        if self._chosen is not None and [message.id for message in messages[:size]] == self._before:
            messages = [*self._chosen, *messages[size:]]
        return request.override(messages=messages, model_settings={**request.model_settings, **self._options})


def build(
    model: BaseChatModel,
    tools: Sequence[Any],
    system: SystemMessage | str | None,
    sent: Sent,
    schema: type[BaseModel] | None,
    checkpointer: BaseCheckpointSaver[str],
    store: BaseStore,
) -> Any:
    """An agent. What it shall answer as data it hears as a JSON schema: no class of the user gets into its state."""
    return create_agent(
        model,
        tools,
        system_prompt=system,
        middleware=[sent],
        response_format={**schema.model_json_schema(), "title": schema.__name__} if schema is not None else None,
        checkpointer=checkpointer,
        store=store,
    )
