"""Validation errors of pydantic, turned into lines that a person can act on.

The path shown is the one that the person wrote: the tags that pydantic adds for the members of a union are
left out, errors that only follow from another one are dropped, and an unknown key or tag names the nearest
known one.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Loc = tuple[int | str, ...]


def nearest(word: str, known: Iterable[str]) -> str:
    """Words for an error message: the known name nearest to `word`, or all of them if none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return "known: " + ", ".join(names)


def explain(error: ValidationError, cls: type[BaseModel], where: str, prefix: str = "") -> str:
    """The message of a `SpecError`: `where` is not valid, and a line for each mistake.

    Args:
        error: what pydantic raised when it validated data against `cls`.
        cls: the model that was asked for.
        where: what was validated, e.g. a file name.
        prefix: path of the validated data inside what the person wrote, e.g. "overrides.0.set".
    """
    mistakes = [(*_written_path(cls, item["loc"]), item) for item in error.errors(include_url=False)]
    paths = [path for path, _, _ in mistakes]
    lines: dict[Loc, list[str]] = {}
    values: dict[Loc, str] = {}
    for path, through_union, item in mistakes:
        # A tuple whose only item is wrong is also "too short", and a list that a union tried as a plain
        # value is also "no string": the mistake is the deeper one.
        follows = any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        if follows and (item["type"] == "too_short" or through_union):
            continue
        messages = lines.setdefault(path, [])
        message = _message(cls, item)
        if message not in messages:
            messages.append(message)
        values[path] = _input_words(item)
    text = []
    for path, messages in lines.items():
        shown = ".".join(str(part) for part in ((prefix, *path) if prefix else path)) or "(top level)"
        text.append(f"{shown}: {' or '.join(messages).replace(' or expected ', ' or ')}{values[path]}")
    return f"{where} is not valid:\n  " + "\n  ".join(text)


def _message(cls: type[BaseModel], item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        known = {name for model in _models(_follow(cls, item["loc"][:-1])[0]) for name in model.model_fields}
        return "unknown key; " + (nearest(str(item["loc"][-1]), known) if known else "remove it")
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("tuple_type", "list_type"):
        return "expected a list"
    if kind in ("model_attributes_type", "model_type", "dict_type"):
        return "expected a mapping (key: value)"
    if kind == "too_short":
        return "needs at least one item"
    if kind == "string_pattern_mismatch":
        return f"expected text like {context['pattern']} (letters, digits, _ and -)"
    if kind == "literal_error":
        return f"expected {context['expected']}"
    if kind == "string_type" and isinstance(item.get("input"), bool):
        return "expected text; YAML reads yes, no, on and off as truth values, so put it in quotes"
    message: str = item["msg"]
    return message.replace("Input should be", "expected", 1)


def _input_words(item: Mapping[str, Any]) -> str:
    silent = ("extra_forbidden", "missing", "too_short")
    if item["type"] in silent or isinstance(item.get("input"), Mapping | BaseModel):
        return ""
    return f" (given: {item.get('input')!r:.80})"


def _written_path(cls: type[BaseModel], loc: Loc) -> tuple[Loc, bool]:
    """`loc` without the tags of unions, and whether its last part was such a tag."""
    _, shown = _follow(cls, loc)
    path = tuple(part for part, is_shown in zip(loc, shown, strict=True) if is_shown)
    return path, bool(shown) and not shown[-1]


def _follow(cls: type[BaseModel], loc: Loc) -> tuple[list[Any], list[bool]]:
    """The types that `loc` leads to from `cls`, and for each part of `loc` whether a person wrote it."""
    kinds: list[Any] = [cls]
    shown: list[bool] = []
    for part in loc:
        kinds, written = _step(kinds, part)
        shown.append(written)
    return kinds, shown


def _step(kinds: list[Any], part: int | str) -> tuple[list[Any], bool]:
    if isinstance(part, int):
        return [
            k for kind in kinds if get_origin(kind) in (tuple, list) for k in _flat(*get_args(kind))
        ], True
    models = _models(kinds)
    # A base class that stands for several, told apart by a key: its error's path names the key's value.
    choices = [model.of_tag(part) for model in models if hasattr(model, "of_tag")]
    if any(choices):
        return [choice for choice in choices if choice is not None], False
    fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
    if fields:
        return _flat(*fields), True
    if not models and len(kinds) > 1:  # a union of plain types: its tag is the type's name
        return kinds, False
    return [], True


def _flat(*annotations: Any) -> list[Any]:
    """Alternatives of the annotations: unions and `Annotated` opened, None and dots left out."""
    out: list[Any] = []
    for annotation in annotations:
        origin = get_origin(annotation)
        if origin is Annotated:
            out += _flat(get_args(annotation)[0])
        elif origin in (Union, types.UnionType):
            out += _flat(*get_args(annotation))
        elif annotation not in (type(None), None, Ellipsis):
            out.append(annotation)
    return out


def _models(kinds: Iterable[Any]) -> list[type[BaseModel]]:
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
