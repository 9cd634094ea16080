"""What models answer: in one piece or in many, as text and as data.

Rule: what is kept of an answer is a plain message. An answer in the form of data is kept as its JSON, whichever way
the model has taken to give it, so that no call of a tool is left without its result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.output_parsers import PydanticOutputParser
from pydantic import BaseModel, ValidationError

from ..errors import ConfigurationError, InvalidAnswer

M = TypeVar("M", bound=BaseModel)
_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


def as_answer(output: Any, who: str) -> list[BaseMessage]:
    """The messages of an answer; the last one is the model's."""
    messages = [*output] if isinstance(output, (list, tuple)) else [output]
    messages = [AIMessage(each) if isinstance(each, str) else each for each in messages]
    if not messages or not all(isinstance(each, BaseMessage) for each in messages):
        raise invalid(f"{who} has answered {output!r:.200}, and neither a message nor text", output)
    messages = [message_chunk_to_message(each) for each in messages]
    if not isinstance(messages[-1], AIMessage):
        raise invalid(f"{who} has ended with a message of type {messages[-1].type}, and not with its own", output)
    return [each if each.id else each.model_copy(update={"id": str(uuid4())}) for each in messages]


def invalid(text: str, answer: Any) -> InvalidAnswer:
    """The error."""
    error = InvalidAnswer(f"{text}; nothing was stored")
    error.answer = answer
    return error


# -- in pieces


class Chunks:
    """Listens to a model, or to anything that takes messages."""

    options: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self._heard: list[Any] = []

    def hear(self, piece: Any) -> Iterator[AIMessageChunk]:
        """A chunk of a message, a piece of text, or what is not said in pieces."""
        self._heard.append(piece)
        chunk = as_chunk(piece[-1] if isinstance(piece, (list, tuple)) and piece else piece)
        if chunk is not None:
            yield chunk

    def whole(self) -> Any:
        """All pieces together."""
        if self._heard and all(isinstance(piece, AIMessageChunk) for piece in self._heard):
            return add_ai_message_chunks(*self._heard)
        if self._heard and all(isinstance(piece, str) for piece in self._heard):
            return "".join(self._heard)
        return self._heard[0] if len(self._heard) == 1 else self._heard


class Steps:
    """Listens to a graph: to all that models say in it."""

    options: Mapping[str, Any] = {"stream_mode": "messages"}

    def hear(self, piece: Any) -> Iterator[AIMessageChunk]:
        """A chunk of a message, or a message that was not said in pieces."""
        chunk = as_chunk(piece[0])
        if chunk is not None:
            yield chunk

    def whole(self) -> Any:
        """The state of the graph has it."""
        return None


def as_chunk(piece: Any) -> AIMessageChunk | None:
    """What a listener gets of a piece."""
    if isinstance(piece, str):
        return AIMessageChunk(content=piece)
    if isinstance(piece, AIMessageChunk):
        return piece
    if isinstance(piece, AIMessage):
        return AIMessageChunk(**{name: value for name, value in piece.__dict__.items() if name != "type"})
    return None


# -- as data


def as_schema(schema: type[M]) -> type[M]:
    """What an answer has to look like."""
    if not isinstance(schema, type) or not issubclass(schema, BaseModel):
        raise ConfigurationError(f"a schema is a class of pydantic's BaseModel, not {schema!r:.80}")
    return schema


def instructions(schema: type[BaseModel]) -> str:
    """What a model has to be told that knows no other way to give data."""
    return str(PydanticOutputParser(pydantic_object=schema).get_format_instructions())


def parsed(schema: type[M], said: Any, who: str, answer: Any = None) -> M:
    """The data in what was said: data already, or a text with it. A text that was cut off is none."""
    try:
        if isinstance(said, schema):
            return said
        return _of_text(schema, said) if isinstance(said, str) else schema.model_validate(said)
    except ValidationError as exc:
        raise invalid(f"{who} has not answered with a {schema.__name__}: {exc}", answer or said) from exc


def _of_text(schema: type[M], text: str) -> M:
    """The data in a text, between marks or words of which models are fond."""
    try:
        return schema.model_validate_json(text)
    except ValidationError:
        for found in (*reversed(_FENCED.findall(text)), text[text.find("{") : text.rfind("}") + 1]):
            try:
                if found.strip("{} \n") == "":
                    continue
                return schema.model_validate_json(found)
            except ValidationError:
                continue
        raise


def as_text(value: BaseModel, said: AIMessage | None, who: str) -> AIMessage:
    """The message that is kept of an answer in the form of data; `said` is what the model sent."""
    text = _json(value, said, who)
    if said is None:
        return AIMessage(text, id=str(uuid4()))
    kept = {name: each for name, each in said.response_metadata.items() if name != "output_version"}
    return AIMessage(
        text, id=said.id or str(uuid4()), name=said.name, response_metadata=kept, usage_metadata=said.usage_metadata
    )


def _json(value: BaseModel, said: AIMessage | None, who: str) -> str:
    """Its JSON: such that the data can be had from it again."""
    schema = type(value)
    try:
        text = value.model_dump_json(by_alias=True)
        if repr(schema.model_validate_json(text).model_dump()) == repr(value.model_dump()):
            return text
    except ValueError:
        pass
    sent = json.dumps(said.tool_calls[-1]["args"]) if said is not None and said.tool_calls else ""
    for text in (sent, str(said.text) if said is not None else ""):
        try:
            _of_text(schema, text)
        except ValidationError:
            continue
        return text
    raise invalid(f"{who} has answered with a {schema.__name__} that has no JSON from which it could be read", value)
