"""Base of every specification: frozen, closed to unknown keys, canonical as JSON, errors that help."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from dissensus.config.explain import explain, nearest
from dissensus.errors import SpecError

__all__ = ["Spec", "nearest"]


class Spec(BaseModel):
    """A frozen specification. Unknown keys are refused and the nearest known key is named; numbers are finite."""

    # Without allow_inf_nan=False, `.nan` and `.inf` in a study would pass for numbers.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, data: Any, where: str, *, prefix: str = "", stored: bool = False) -> Self:
        """Validate `data`; `where` (a file name, say) opens the message of a `SpecError`.

        `prefix` is put before the paths in the message, for data that sit inside something larger. `stored`: the data
        is of a study that is only looked at, so no package's source is loaded (see `config.sources.StoredSource`).
        """
        try:
            return cls.model_validate(data, context={"stored": stored})
        except ValidationError as error:
            raise SpecError(explain(error, cls, where, prefix)) from None

    def canonical(self) -> str:
        """The choices made, as JSON with sorted keys: the thing that is hashed.

        Values that equal their default are left out, so that a later version may add a setting without
        giving every finished cell a new name. The tag of a union always stays.
        """
        return json.dumps(_choices(self), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of `canonical()`, as hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def _choices(value: Any) -> Any:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: _choices(item)
            for name, item in value
            if name not in fields
            or name == "source"
            or fields[name].is_required()
            or item != fields[name].get_default()
        }
    if isinstance(value, list | tuple):
        return [_choices(item) for item in value]
    return value
