"""Data sources as a specification names them: a `source` key, and the keys of that source.

Each source is one file, with its specification, its loader and its published addresses: see `dissensus.data.sources`,
and CONTRIBUTING.md for adding one. This module knows the built-in ones by name alone and loads one when it is named.

A study that is only looked at (its status, tables, report) loads no package's source: that code may do anything, and
may not be installed. Such a source is a `StoredSource`, which keeps what the study says of it.

Paths are not part of a run's identity in any machine-dependent way: a relative path is looked up under
the data directory (`--data-dir`, `DISSENSUS_DATA`, the cache), and what a file held is fingerprinted in
the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, cast, get_args

from pydantic import (
    ConfigDict,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_serializer,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema

from dissensus.config.base import Spec, nearest
from dissensus.config.extensions import ExtensionPoint


def _is_source(value: Any) -> bool:
    spec = getattr(value, "spec", None)
    published = isinstance(getattr(value, "published", None), tuple)
    return isinstance(spec, type) and issubclass(spec, SourceSpec) and callable(value.load) and published


SOURCES = ExtensionPoint(
    "dissensus.sources",
    {
        "chaosnli": "dissensus.data.sources.chaosnli:SOURCE",
        "snli": "dissensus.data.sources.nli:SOURCE",
        "mnli": "dissensus.data.sources.nli:SOURCE",
        "lewidi": "dissensus.data.sources.lewidi:SOURCE",
        "goemotions": "dissensus.data.sources.goemotions:SOURCE",
        "civil_comments": "dissensus.data.sources.civil_comments:SOURCE",
        "helpsteer2": "dissensus.data.sources.ratings:HELPSTEER2_SOURCE",
        "measuring_hate_speech": "dissensus.data.sources.ratings:HATE_SPEECH_SOURCE",
        "popquorn": "dissensus.data.sources.ratings:POPQUORN_SOURCE",
        "preference_pairs": "dissensus.data.sources.preferences:SOURCE",
        "table": "dissensus.data.sources.table:SOURCE",
        "labelstudio": "dissensus.data.sources.labelstudio:SOURCE",
        "argilla": "dissensus.data.sources.argilla:SOURCE",
        "prodigy": "dissensus.data.sources.prodigy:SOURCE",
        "doccano": "dissensus.data.sources.doccano:SOURCE",
        "mturk": "dissensus.data.sources.mturk:SOURCE",
        "toloka": "dissensus.data.sources.toloka:SOURCE",
        "crowdkit": "dissensus.data.sources.crowdkit:SOURCE",
        "ground_truth": "dissensus.data.sources.ground_truth:SOURCE",
        "simulated": "dissensus.data.sources.simulated:SOURCE",
    },
    "a dissensus.data.sources.base.Source",
    _is_source,
)
"""Value of the `source` key -> a `dissensus.data.sources.base.Source`."""


class SourceSpec(Spec):
    """Base of every source's specification. What else is known of the data is asked of it by these methods."""

    source: str

    def __hash__(self) -> int:
        """By content: a source's keys may hold mappings, which have no hash of their own."""
        return hash(self.canonical())

    def in_words(self) -> str:
        """How a report names the data."""
        return f"{self.source} data"

    def gold_from(self) -> str:
        """Where gold labels come from: 'original', 'majority', 'published' or 'simulated'."""
        return "published"

    def label_meanings(self) -> Mapping[str, str]:
        """Label -> its meaning, for labels that are bare numbers."""
        return {}

    def known_size(self) -> int | None:
        """Number of examples, where the specification alone says."""
        return None

    @classmethod
    def of_tag(cls, tag: int | str) -> type[SourceSpec] | None:
        """The specification of the source that is known as `tag`; None where none is, or `cls` is one itself."""
        source = SOURCES.load(tag) if cls is SourceSpec and isinstance(tag, str) else None
        return None if source is None else cast("type[SourceSpec]", source.spec)

    @model_serializer(mode="wrap")
    def _as_stored(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A package's source is stored without its defaults: then its mapping tells its digest without its code."""
        stored: dict[str, Any] = (
            dump(self) if self.source in SOURCES.builtin else json.loads(self.canonical())
        )
        return stored


class StoredSource(SourceSpec):
    """A package's source in a study that is only looked at: its keys as stored, the digest that they have, no code."""

    model_config = ConfigDict(extra="allow")


_PYDANTIC_ERRORS = frozenset(get_args(core_schema.ErrorType))


def _by_its_key(value: Any, _handler: object, info: ValidationInfo) -> SourceSpec:
    """Validate `value` as the source that its `source` key names, as pydantic does in a union told apart by a key."""
    if isinstance(value, SourceSpec):
        return value
    if not isinstance(value, Mapping):
        raise PydanticKnownError("model_attributes_type")
    if "source" not in value:
        known = ", ".join(SOURCES.names())
        raise PydanticCustomError("source", "needs the key 'source', one of: {known}", {"known": known})
    tag = value["source"]
    if isinstance(tag, str) and tag not in SOURCES.builtin and (info.context or {}).get("stored"):
        return StoredSource.model_validate(value)
    spec = SourceSpec.of_tag(tag)
    if spec is None:
        near = nearest(str(tag), SOURCES.names())
        raise PydanticCustomError(
            "source",
            "unknown source '{tag}'; {near} (or a package that brings it is not installed)",
            {"tag": tag, "near": near},
        )
    try:
        return spec.model_validate(value)
    except ValidationError as error:
        # `explain` follows a path through the tag to the class, as in one of pydantic's own unions.
        lines = [_line(tag, item) for item in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(error.title, lines) from None


def _line(tag: str, item: Any) -> InitErrorDetails:
    known = item["type"] in _PYDANTIC_ERRORS
    kind = item["type"] if known else PydanticCustomError(item["type"], "{words}", {"words": item["msg"]})
    return InitErrorDetails(type=kind, loc=(tag, *item["loc"]), input=item["input"], ctx=item.get("ctx", {}))


AnySource = SerializeAsAny[Annotated[SourceSpec, WrapValidator(_by_its_key)]]
"""A field that holds any source."""
