"""Every error of a document is named by its key path and its line."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Discriminator, Tag

from policies.strict_yaml import DocumentError, parse

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


class Folder(BaseModel):
    model_config = STRICT
    folder: str


class Archive(BaseModel):
    model_config = STRICT
    npz: str


class Layer(BaseModel):
    model_config = STRICT
    width: int
    share: float = 0.5


def _kind(value: object) -> str | None:
    return ("Disk" if "path" in value else "Ball") if isinstance(value, dict) else None


class Disk(BaseModel):
    model_config = STRICT
    path: str
    span: tuple[int, int] = (0, 1)


class Ball(BaseModel):
    model_config = STRICT
    radius: int


Tagged = Annotated[
    Annotated[Disk, Tag("Disk")] | Annotated[Ball, Tag("Ball")],
    Discriminator(_kind, custom_error_type="kind", custom_error_message="a path or a radius"),
]


class Document(BaseModel):
    model_config = STRICT
    name: str
    size: tuple[int, ...] = ()
    layers: tuple[Layer, ...] = ()
    data: Folder | Archive | None = None
    things: tuple[Tagged, ...] = ()


GOOD = """\
name: net
size: [3, 32, 32]
layers:
  - {width: 16, share: 1}
  - width: 32
data: {npz: images.npz}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse(text, Document, source="net.yaml")
    return str(caught.value).splitlines()


def test_lists_become_tuples_and_integers_do_for_floats() -> None:
    document = parse(GOOD, Document, source="net.yaml")
    assert document.size == (3, 32, 32)
    assert document.layers == (Layer(width=16, share=1.0), Layer(width=32))
    assert document.data == Archive(npz="images.npz")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "name: net\nsizes: [1]\n",
            "net.yaml:2: sizes: unknown key; did you mean 'size'? "
            "known here: data, layers, name, size, things",
            id="unknown key",
        ),
        pytest.param(
            "name: net\nlayers:\n  - width: 1\n    shares: 1\n",
            "net.yaml:4: layers[0].shares: unknown key; did you mean 'share'? "
            "known here: share, width",
            id="unknown key in a list",
        ),
        pytest.param(
            "name: net\nlayers:\n\n  - share: 0.1\n",
            "net.yaml:4: layers[0].width: this key is missing",
            id="missing key, at the line of its parent",
        ),
        pytest.param(
            "size: []\n", "net.yaml:1: name: this key is missing", id="missing key at the top"
        ),
        pytest.param(
            "name: net\nlayers:\n  - {width: '16'}\n",
            'net.yaml:3: layers[0].width: Input should be a valid integer, not "16"',
            id="text for a number",
        ),
        pytest.param(
            "name: 3\n", "net.yaml:1: name: Input should be a valid string, not 3", id="a number"
        ),
        pytest.param(
            "name: net\nsize: [3, true]\n",
            "net.yaml:2: size[1]: Input should be a valid integer, not true",
            id="a boolean for a number",
        ),
        pytest.param(
            "name: net\nsize: 3\n",
            "net.yaml:2: size: Input should be a valid array, not 3",
            id="a number for a list",
        ),
        pytest.param(
            "name: net\nthings:\n  - {path: x, radus: 1}\n",
            "net.yaml:3: things[0].radus: unknown key; known here: path, span",
            id="unknown key in a member of a tagged union",
        ),
        pytest.param(
            "name: net\nthings: [x]\n",
            'net.yaml:2: things[0]: a path or a radius, not "x"',
            id="no member of a tagged union",
        ),
        pytest.param(
            "name: net\nthings:\n  - path: x\n    span: [1]\n",
            "net.yaml:4: things[0].span[1]: this item is missing",
            id="a pair of one",
        ),
        pytest.param(
            "name: a\nsize: []\nname: b\n",
            "net.yaml:3: name: given twice, first on line 1; keep one",
            id="duplicate key",
        ),
        pytest.param(
            "name: !!binary aGk=\n",
            "net.yaml:1: name: a binary is not read; quote it to mean text",
            id="binary",
        ),
        pytest.param(
            "name: !!python/name:os.system\n",
            "net.yaml:1: name: a python/name:os.system is not read; quote it to mean text",
            id="tag",
        ),
        pytest.param(
            "name: !!int net\n", "net.yaml:1: name: 'net' is not of the type int", id="false tag"
        ),
        pytest.param(
            "name: &a net\nsize: *a\n",
            "net.yaml:2: size: aliases are not read; write the value out",
            id="alias",
        ),
        pytest.param(
            "name: net\n3: x\n",
            "net.yaml:2: document: a key is text; quote it to mean text",
            id="key",
        ),
        pytest.param(
            "name: net\nsize: [1\n",
            "net.yaml:3: not valid YAML: expected ',' or ']', but got '<stream end>'",
            id="syntax",
        ),
        pytest.param("", "net.yaml: the document is empty", id="empty"),
        pytest.param("- 1\n", "net.yaml:1: document: Input should be an object", id="a list"),
        pytest.param(
            "name: a\n---\nname: b\n",
            "net.yaml:2: not valid YAML: but found another document",
            id="two documents",
        ),
    ],
)
def test_an_error_says_where_it_is_and_what_to_do(text: str, expected: str) -> None:
    assert expected in problems(text)


def test_a_date_is_the_text_that_it_is_written_as() -> None:
    assert parse("name: 2024-01-01\n", Document, source="net.yaml").name == "2024-01-01"


def test_characters_that_yaml_forbids_are_an_error_too() -> None:
    assert problems("name: \x01")[0].startswith("net.yaml: not valid YAML: unacceptable character")


def test_all_errors_come_at_once_in_the_order_of_their_lines() -> None:
    text = "nome: net\nsize: [x]\nlayers:\n  - width: 1\n    width: 2\n"
    assert [line.split(": ")[:2] for line in problems(text)] == [
        ["net.yaml:1", "name"],
        ["net.yaml:1", "nome"],
        ["net.yaml:2", "size[0]"],
        ["net.yaml:5", "layers[0].width"],
    ]


def test_members_of_a_union_are_not_mistaken_for_keys() -> None:
    lines = problems("name: net\ndata:\n  fodler: x\n")
    assert (
        "net.yaml:3: data.fodler: unknown key; did you mean 'folder'? known here: folder, npz"
        in lines
    )
    assert all(": data." in line for line in lines)
    assert len(lines) == len(set(lines))
