"""What may be given as a model, and a clear error for what may not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from langchain_core.runnables import Runnable
from langchain_core.runnables.base import coerce_to_runnable

from ..errors import ConfigurationError, MissingExtra

GivenModel = str | Runnable[Any, Any] | Callable[..., Any]
"""A model, its name, a compiled graph, or whatever else takes messages and gives one."""
_EXTRA = "langchain is not installed: pip install 'langgraph-sessionstore[langchain]'"


def as_model(given: GivenModel) -> Runnable[Any, Any]:
    """A model, from whatever a user gives for one."""
    if isinstance(given, str):
        return _by_name(given)
    try:
        model: Runnable[Any, Any] = coerce_to_runnable(given)
    except TypeError as exc:
        raise ConfigurationError(
            'a model is a LangChain chat model, its name such as "openai:gpt-5", a Runnable over messages, or a '
            f"compiled graph, not {type(given).__name__}"
        ) from exc
    if hasattr(model, "aupdate_state") and not is_graph(model):
        raise ConfigurationError(
            f"a {type(model).__name__} keeps its state elsewhere: a conversation takes compiled graphs of this process"
        )
    return model


def is_graph(given: Any) -> bool:
    """Whether this is a compiled graph; nobody has one who has not imported langgraph."""
    pregel = sys.modules.get("langgraph.pregel")
    return pregel is not None and isinstance(given, pregel.Pregel)


def agents() -> Any:
    """What builds agents, if langchain is installed."""
    try:
        from . import agents
    except ImportError as exc:
        raise MissingExtra(f"a conversation with tools is an agent of langchain's. {_EXTRA}") from exc
    return agents


def _by_name(name: str) -> Runnable[Any, Any]:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as exc:
        raise MissingExtra(f"a model is given by its name. {_EXTRA}, or give the model itself") from exc
    try:
        if not name.strip():
            raise ValueError("there is no model without a name")
        return init_chat_model(name)
    except ImportError as exc:
        raise MissingExtra(f"model {name!r}: {exc}") from exc
    except ValueError as exc:
        raise ConfigurationError(f"model {name!r}: {exc}") from exc
