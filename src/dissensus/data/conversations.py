"""Conversations in the rows of a data set: messages with a role and content, as chat templates read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dissensus.errors import DataError

Messages = tuple[Mapping[str, Any], ...]
"""A conversation: messages with a role and content."""


def messages_of(value: object) -> Messages | None:
    """The messages of a conversation, or None where a value is none."""
    if isinstance(value, np.ndarray):  # as a table's cells come
        value = value.tolist()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence) or not len(value):
        return None
    if not all(isinstance(m, Mapping) and "role" in m for m in value):
        return None
    return tuple(_of_text(message) for message in value)


def _of_text(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message whose content is text: parts that are all texts are joined, as text models want it."""
    content = message.get("content")
    if not isinstance(content, Sequence) or isinstance(content, str | bytes):
        return message
    if not all(isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
               for part in content):  # fmt: skip
        kinds = sorted(
            {str(part.get("type")) if isinstance(part, Mapping) else type(part).__name__ for part in content}
        )
        raise DataError(
            f"a message of the role {message['role']!r} has content of the kinds {kinds}; only text is scored. Give "
            "the text of the message, or leave the example out"
        )
    return {**message, "content": "".join(part["text"] for part in content)}


def read_aloud(messages: Messages) -> str:
    """A conversation as a text for people: a line per message, its role first."""
    return "\n".join(f"{message['role']}: {_content(message)}" for message in messages)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:  # a call of a tool, which has no words
        rest = {
            key: value
            for key, value in message.items()
            if key not in ("role", "content") and value is not None
        }
        return json.dumps(rest, ensure_ascii=False, default=str) if rest else ""
    return json.dumps(content, ensure_ascii=False, default=str)


def chat_of(record: Mapping[str, object], where: str) -> dict[str, Any]:
    """What a row says to the chat template, as TRL's trainers read it: tools (JSON or a list), and its arguments."""
    tools, extra = record.get("tools"), record.get("chat_template_kwargs") or {}
    try:
        tools = json.loads(tools) if isinstance(tools, str) else tools
    except ValueError as error:
        raise DataError(f"{where} has 'tools' that are no JSON: {error}") from None
    if not isinstance(extra, Mapping):
        raise DataError(
            f"{where} has 'chat_template_kwargs' of type {type(extra).__name__}; expected a mapping of names to values"
        )
    return {**({} if tools is None else {"tools": tools}), **extra}
