"""What every specification shares: frozen, closed to unknown keys, canonical as JSON, errors that help."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from dissensus.errors import SpecError


class Spec(BaseModel):
    """A frozen specification. Unknown keys are refused and the nearest known key is named."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """Validate `data`; `where` (a file name, say) opens the message of a `SpecError`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(_explain(error, cls, where)) from None

    def canonical(self) -> str:
        """The specification as JSON with sorted keys and no free choice: the thing that is hashed."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of `canonical()`, as hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def nearest(word: str, known: Iterable[str]) -> str:
    """Words for an error message: the known name nearest to `word`, or all of them if none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return "known: " + ", ".join(names)


def _explain(error: ValidationError, cls: type[BaseModel], where: str) -> str:
    lines = []
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            keys = _known_keys(cls, item["loc"][:-1])
            hint = nearest(str(item["loc"][-1]), keys) if keys else "remove it"
            lines.append(f"{path}: unknown key; {hint}")
        else:
            given = item.get("input")
            shown = "" if isinstance(given, Mapping | BaseModel) else f" (given: {given!r:.80})"
            lines.append(f"{path}: {item['msg']}{shown}")
    return f"{where} is not valid:\n  " + "\n  ".join(lines)


def _known_keys(cls: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """Field names of the model that `loc` leads to; unions and lists are looked through."""
    candidates: list[type[BaseModel]] = [cls]
    for part in loc:
        found: list[type[BaseModel]] = []
        for model in candidates:
            if isinstance(part, str) and part in model.model_fields:
                found += _models_in(model.model_fields[part].annotation)
            else:  # a list index, or the tag of a union: stay, or pick the tagged member
                tagged = _tag_matches(model, part)
                if tagged:
                    found.append(model)
        candidates = found
    return {name for model in candidates for name in model.model_fields}


def _tag_matches(model: type[BaseModel], part: int | str) -> bool:
    if isinstance(part, int):
        return True
    field = model.model_fields.get("source")
    return field is not None and part in getattr(field.annotation, "__args__", ())


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in getattr(annotation, "__args__", ()) for model in _models_in(arg)]
