"""YAML text to a pydantic model, with every error named by its key path and its line.

Only the YAML that JSON can say is read: no aliases (a few lines of them can stand for gigabytes),
no tags, text keys only; a date is the text that it is written as. Whatever is not
understood is an error, never skipped.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
Key = str | int
KeyPath = tuple[Key, ...]
JsonSchema = Mapping[str, Any]
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_YAML: Final = "tag:yaml.org,2002:"
_DATE: Final = f"{_YAML}timestamp"
_SCALARS: Final = {f"{_YAML}{name}" for name in ("null", "bool", "int", "float", "str")}


class DocumentError(ValueError):
    """The text is not what it should be; the message has one line per error."""


def parse(text: str, model: type[Model], *, source: str) -> Model:
    """The model that ``text`` describes; ``source`` names the text in errors (a path).

    Raises:
        DocumentError: all errors of the text, one per line: ``source:line: key.path: what``.
    """
    return read(text, source=source).of(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a text holds, and where. Only ``read`` makes one."""

    source: str
    content: Json
    reading: "_Reading"

    def of(self, model: type[Model]) -> Model:
        """The model that the document describes.

        Raises:
            DocumentError: all errors of the text, one per line.
        """
        try:
            value = model.model_validate_json(json.dumps(self.content))
        except ValidationError as error:
            found = [*self.reading.problems, *_explain(error, model, self.reading)]
            raise self._error(found) from error
        if self.reading.problems:
            raise self._error(self.reading.problems)
        return value

    def error(self, problems: Iterable[tuple[KeyPath, str]]) -> DocumentError:
        """The error that tells these problems, each at its key or the nearest one above it."""
        lines = self.reading.lines
        found = []
        for path, message in problems:
            parents = (path[:end] for end in range(len(path), -1, -1))
            line = next(lines[parent] for parent in parents if parent in lines)
            found.append(_Problem(line, path, message))
        return self._error(found)

    def _error(self, problems: Iterable["_Problem"]) -> DocumentError:
        told = sorted({(p.line, f"{_dotted(p.path)}: {p.message}") for p in problems})
        return DocumentError("\n".join(f"{self.source}:{line}: {what}" for line, what in told))


def read(text: str, *, source: str) -> Document:
    """The content of a text, before anything is known of what it should hold.

    Raises:
        DocumentError: it is empty or no YAML.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DocumentError(f"{source}:{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"{source}: not valid YAML: {error}") from error
    if root is None:
        raise DocumentError(f"{source}: the document is empty")
    reading = _Reading()
    content = _read(root, (), line=1, into=reading)
    return Document(source=source, content=content, reading=reading)


class _Problem(NamedTuple):
    line: int
    path: KeyPath
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What is learnt while the tree is read: where each key path stands, and what is wrong."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[_Problem] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


def _read(node: yaml.Node, path: KeyPath, *, line: int, into: _Reading) -> Json:
    into.lines[path] = line
    if id(node) in into.seen:
        into.problems.append(_Problem(line, path, "aliases are not read; write the value out"))
        return None
    into.seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, path, into=into)
    if isinstance(node, yaml.SequenceNode):
        return [
            _read(item, (*path, i), line=item.start_mark.line + 1, into=into)
            for i, item in enumerate(node.value)
        ]
    return _read_scalar(node, path, line=line, into=into)


def _read_scalar(node: yaml.Node, path: KeyPath, *, line: int, into: _Reading) -> Json:
    if node.tag == _DATE:
        return str(node.value)
    if node.tag not in _SCALARS:
        kind = node.tag.removeprefix(_YAML)
        into.problems.append(_Problem(line, path, f"a {kind} is not read; quote it to mean text"))
        return None
    try:
        value: Json = yaml.constructor.SafeConstructor().construct_object(node)
    except ValueError:
        kind = node.tag.removeprefix(_YAML)
        into.problems.append(_Problem(line, path, f"{node.value!r} is not of the type {kind}"))
        return None
    return value


def _read_mapping(node: yaml.MappingNode, path: KeyPath, *, into: _Reading) -> Json:
    content: dict[str, Json] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if key.tag != f"{_YAML}str":
            into.problems.append(_Problem(line, path, "a key is text; quote it to mean text"))
        elif key.value in content:
            first = into.lines[*path, key.value]
            message = f"given twice, first on line {first}; keep one"
            into.problems.append(_Problem(line, (*path, key.value), message))
        else:
            content[key.value] = _read(item, (*path, key.value), line=line, into=into)
    return content


def _explain(
    error: ValidationError, model: type[BaseModel], reading: _Reading
) -> Iterator[_Problem]:
    """What pydantic found wrong, except where that follows from what is wrong there or below."""
    details = [(_in_document(detail, reading.lines), detail) for detail in error.errors()]
    unread = {problem.path for problem in reading.problems}
    for path, detail in details:
        below = any(other[: len(path)] == path != other for other, _ in details)
        if path in unread or (below and detail["type"] == "too_short"):
            continue
        line = reading.lines.get(path) or reading.lines[path[:-1]]
        yield _Problem(line, path, _message(path, detail, model))


def _message(path: KeyPath, detail: ErrorDetails, model: type[BaseModel]) -> str:
    match detail["type"]:
        case "missing" if isinstance(path[-1], int):
            return "this item is missing"
        case "missing":
            return "this key is missing"
        case "extra_forbidden":
            return f"unknown key; {_advice(str(path[-1]), _known_keys(model, detail['loc'][:-1]))}"
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case _ if isinstance(detail["input"], dict | list):
            return detail["msg"]
        case _:
            return f"{detail['msg']}, not {json.dumps(detail['input'])}"


def _in_document(detail: ErrorDetails, lines: Mapping[KeyPath, int]) -> KeyPath:
    """The key path of an error. Pydantic also names the members of unions, which are no keys."""
    path: KeyPath = ()
    for part in detail["loc"]:
        if (*path, part) in lines:
            path = (*path, part)
    return (*path, detail["loc"][-1]) if detail["type"] == "missing" else path


def _advice(unknown: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(unknown, known, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}known here: {', '.join(known)}"


def _known_keys(model: type[BaseModel], location: KeyPath) -> list[str]:
    """Keys that the model allows at pydantic's ``location``, read off its JSON schema."""
    schema = model.model_json_schema()
    here = list(_members(schema, schema))
    for part in location:
        children = [child for node in here if (child := _child(node, part)) is not None]
        children = children or _tagged(here, part)
        # Neither a key nor a tag: the name of a member of a union, all of which are possible.
        if children:
            here = [member for child in children for member in _members(child, schema)]
    return sorted({key for node in here for key in node.get("properties", {})})


def _members(node: JsonSchema, schema: JsonSchema) -> Iterator[JsonSchema]:
    """The node, or what it refers to, or the members of the union that it is."""
    if "$ref" in node:
        yield from _members(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    for option in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _members(option, schema)
    yield node


def _child(node: JsonSchema, part: Key) -> JsonSchema | None:
    child: JsonSchema | None = (
        node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
    )
    return child


def _tagged(nodes: Sequence[JsonSchema], tag: Key) -> list[JsonSchema]:
    """The member of a tagged union that was chosen, if ``tag`` is one: its class has that name."""
    options = [option for node in nodes for option in node.get("oneOf", ())]
    return [option for option in options if option.get("$ref", "").endswith(f"/{tag}")]


def _dotted(path: KeyPath) -> str:
    """The key path as people write it, ``shifts[2].tolerance``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".") or "document"
