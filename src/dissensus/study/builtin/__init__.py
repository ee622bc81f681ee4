"""The studies that come with the package, and finding a study by name, file or folder."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from dissensus.config import StudySpec, nearest
from dissensus.errors import SpecError


def builtin_names() -> tuple[str, ...]:
    """Names of the built-in studies, sorted."""
    names = (item.name for item in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def builtin_text(name: str) -> str:
    """The YAML of a built-in study, comments included; `SpecError` names the nearest for an unknown one."""
    names = builtin_names()
    if name not in names:
        raise SpecError(f"no built-in study {name!r}; {nearest(name, names)}")
    return (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")


def load_study(study: str) -> StudySpec:
    """A study by built-in name, YAML file, or the folder of a study that was run.

    Raises:
        SpecError: there is none by that name (the nearest built-in one is named), or it is not valid.
    """
    path = Path(study).expanduser()
    if path.is_dir() and study not in builtin_names():
        if not (path / "study.yaml").is_file():
            raise SpecError(f"{study} is a folder without study.yaml; give a YAML file or a built-in name")
        return StudySpec.from_yaml(path / "study.yaml")
    if path.is_file() or path.suffix in (".yaml", ".yml") or os.sep in study:
        return StudySpec.from_yaml(path)
    if study not in builtin_names():
        raise SpecError(
            f"no study {study!r}: there is no such file and no built-in study of that name; "
            f"{nearest(study, builtin_names())}"
        )
    return StudySpec.from_text(builtin_text(study), f"the built-in study {study}")
