"""Who imports whom in a package, read from the source with `ast`: nothing is run, so nothing can hide at run time.

Each import is of one of three kinds: "module" (runs when the module is imported), "lazy" (inside a function) and
"typing" (under `if TYPE_CHECKING`, never runs).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

OPENS_FILES = "builtins.open"
"""Stands among a module's imports where it calls `open(...)`: reading files needs no import statement."""


@dataclass(frozen=True)
class Import:
    """One import: the dotted name of a module, its kind, and the line it stands on."""

    name: str
    kind: str
    line: int


@dataclass(frozen=True)
class Rule:
    """What the modules under `module` (a dotted name below the package; "" is all of it) must not import.

    Names in all fields are third-party modules, or the package's own when they start with a dot.

    Attributes:
        module: the module or sub-package that the rule binds.
        never: no import statement anywhere in it, nor anything that loads it when the module is imported.
        eager: not loaded when the module is imported; a function may import it.
        only: the package's own modules that it may import; None allows all.
        exempt: modules below `module` that the rule does not bind.
    """

    module: str
    never: tuple[str, ...] = ()
    eager: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    exempt: tuple[str, ...] = ()


@dataclass
class ImportGraph:
    """All modules below one package folder, and what each imports."""

    package: str
    imports: dict[str, tuple[Import, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> ImportGraph:
        """Parse every Python file below the package's folder."""
        files = {_module_name(path, folder): path for path in sorted(folder.rglob("*.py"))}
        graph = cls(folder.name)
        for name, path in files.items():
            visitor = _Visitor(name, path.name == "__init__.py", frozenset(files))
            visitor.visit(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))
            graph.imports[name] = tuple(visitor.found)
        return graph

    def below(self, module: str) -> list[str]:
        """The modules that a rule's name binds."""
        return [name for name in self.imports if _is_below(name, self.absolute(module))]

    def absolute(self, name: str) -> str:
        """A rule's module name with the package in front."""
        return f"{self.package}.{name.removeprefix('.')}" if name else self.package

    def loaded(self, start: str, *, parents: bool) -> dict[str, tuple[str, ...]]:
        """Everything that importing `start` imports, with the chain of modules that leads there.

        With `parents`, `a/__init__.py` counts as imported by whoever imports `a.b`: Python runs it. That is what
        loads a library, but it is not what a module chose to use, so own modules are judged without it.
        """
        chains: dict[str, tuple[str, ...]] = {}
        queue: list[tuple[str, ...]] = [(start,)]
        while queue:
            chain = queue.pop(0)
            module = chain[-1]
            targets = [i.name for i in self.imports.get(module, ()) if i.kind == "module"]
            if parents:
                targets += list(_ancestors(module))
            for target in targets:
                if target not in chains and target != start:
                    chains[target] = (*chain, target)
                    if target in self.imports:
                        queue.append(chains[target])
        return chains

    def violations(self, rules: Iterable[Rule]) -> list[str]:
        """One line for each import that breaks a rule, without repetition."""
        found: dict[str, None] = {}
        for rule in rules:
            exempt = [self.absolute(name) for name in rule.exempt]
            for module in self.below(rule.module):
                if not any(_is_below(module, name) for name in exempt):
                    found |= dict.fromkeys(self._broken(rule, module))
        return list(found)

    def between_packages(self) -> dict[tuple[str, str], str]:
        """Who imports whom among what lies directly below the package, and the first line that does, of any kind.

        The package's own `__init__` stands outside: it is what all of it is reached through.
        """
        found: dict[tuple[str, str], str] = {}
        for module, imports in self.imports.items():
            for imported in imports:
                ends = [name.split(".")[1:2] for name in (module, imported.name)]
                if imported.name in self.imports and all(ends) and ends[0] != ends[1]:
                    line = f"{module}:{imported.line} imports {imported.name}"
                    found.setdefault((ends[0][0], ends[1][0]), line)
        return found

    def between_modules(self) -> dict[tuple[str, str], str]:
        """Which module imports which other one of the package, and the first line that does; not for types alone."""
        found: dict[tuple[str, str], str] = {}
        for module, imports in self.imports.items():
            for imported in imports:
                if imported.name in self.imports and imported.kind != "typing" and imported.name != module:
                    line = f"{module}:{imported.line} imports {imported.name}"
                    found.setdefault((module, imported.name), line)
        return found

    def circles(self) -> list[str]:
        """Ways from a package, or a module, back to itself, each once, as lines that say which imports make it."""
        return [*_circles(self.between_packages()), *_circles(self.between_modules())]

    def _broken(self, rule: Rule, module: str) -> Iterator[str]:
        for imported in self.imports[module]:
            own = _is_below(imported.name, self.package)
            if imported.kind == "typing" and not own:
                continue
            for banned in rule.never:
                if self._matches(imported.name, banned):
                    yield f"{module}:{imported.line} imports {imported.name}; it must not import {banned}"
            if (
                rule.only is not None
                and own
                and not any(_is_below(imported.name, self.absolute(name)) for name in rule.only)
            ):
                yield f"{module}:{imported.line} imports {imported.name}; it may import only {list(rule.only)}"
        for banned in (*rule.never, *rule.eager):
            for target, chain in self.loaded(module, parents=not banned.startswith(".")).items():
                if self._matches(target, banned):
                    yield f"importing {module} loads {banned}: {' -> '.join(chain)}"
                    break

    def _matches(self, name: str, banned: str) -> bool:
        return _is_below(name, self.absolute(banned) if banned.startswith(".") else banned)


class _Visitor(ast.NodeVisitor):
    def __init__(self, module: str, is_package: bool, known: frozenset[str]) -> None:
        self.module, self.is_package, self.known = module, is_package, known
        self.kind = "module"
        self.found: list[Import] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self.module.split(".")
            parts = parts[: len(parts) - node.level + self.is_package]
            base = ".".join([*parts, base] if base else parts)
        for alias in node.names:
            # `from a import b` names a module when there is one of that name, else something inside `a`.
            inner = f"{base}.{alias.name}"
            self._add(inner if inner in self.known else base, node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        first = node.args[0] if node.args else None
        if called == "open":
            self._add(OPENS_FILES, node.lineno)
        by_name = called in ("import_module", "importlib.import_module", "__import__")
        if by_name and isinstance(first, ast.Constant) and isinstance(first.value, str):
            self._add(first.value, node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self._within("typing", node.body)
            self._within(self.kind, node.orelse)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        # Decorators and default values run at import; the body does not.
        for outside in (*node.decorator_list, node.args):
            self.visit(outside)
        self._within("typing" if self.kind == "typing" else "lazy", node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's name

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._within("typing" if self.kind == "typing" else "lazy", [node.body])

    def _within(self, kind: str, nodes: Iterable[ast.AST]) -> None:
        before, self.kind = self.kind, kind
        for node in nodes:
            self.visit(node)
        self.kind = before

    def _add(self, name: str, line: int) -> None:
        self.found.append(Import(name, self.kind, line))


def _module_name(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _circles(between: dict[tuple[str, str], str]) -> list[str]:
    found = []
    for first, second in sorted(between):
        way = _way(second, first, between)
        if way and first == min(first, *way):  # once, from its first name
            steps = zip((first, *way), (*way, first), strict=True)
            found.append("; ".join(between[step] for step in steps))
    return found


def _way(start: str, end: str, steps: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The shortest way from `start` to before `end`; empty where there is none."""
    after: dict[str, list[str]] = {}
    for a, b in steps:
        after.setdefault(a, []).append(b)
    ways, seen = [(start,)], {start}
    for way in ways:
        for b in after.get(way[-1], ()):
            if b == end:
                return way
            if b not in seen:
                seen.add(b)
                ways.append((*way, b))
    return ()


def _is_below(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(ancestor + ".")


def _ancestors(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module
