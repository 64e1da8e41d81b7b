"""The commands, as people give them, with every part of a study."""

import csv
import dataclasses
import importlib.util
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import Result

from compressor.study.comparing import read_study
from compressor.study.drawings import drawings
from compressor.study.plots import losses
from compressor.study.study_page import draw_study
from compressor.study.study_text import as_markdown
from compressor.study.trials import Json
from tests.compressor.page.walk import agrees, at, numbers, walked
from tests.pipeline.study_project import GRID

ALL = GRID.replace(
    "parts: [potential, excess, similarity]",
    """\
parts: [potential, excess, similarity, features, losses]
features: {method: l2, ratios: [0.5], images: 20, step: 0.3}
losses: {criteria: [MP, QM], steps: [1, 3], ratios: [0.6], images: 60}
base_epochs: 4""",
).replace("  taylor: {importance: taylor, steps: 2}\n", "")


@pytest.fixture(scope="module")
def study(
    root: Path, tmp_path_factory: pytest.TempPathFactory, compress: Callable[..., Result]
) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("study")
    text = f"project: {root / 'compress.yaml'}\n" + ALL.replace("model.pt", str(root / "model.pt"))
    (folder / "study.yaml").write_text(text)
    words = ["study", str(folder / "study.yaml"), "--out", str(folder / "out")]
    return folder / "out", compress(*words, "--engine", "serial")


@pytest.fixture(scope="module")
def record(study: tuple[Path, Result]) -> dict[str, Json]:
    folder, result = study
    assert result.exit_code == 0, result.output
    content: dict[str, Json] = json.loads((folder / "study.json").read_text())
    return content


def test_everything_is_there(study: tuple[Path, Result], record: dict[str, Json]) -> None:
    folder, _ = study
    assert record["schema_version"] == 1
    assert record["trials"]["failures"] == []
    assert record["trials"]["done"] == record["trials"]["planned"]
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*.*")}
    drawn = ("curves", "potential", "excess", "similarity", "features", "losses")
    assert {"ledger.jsonl", "study.json", "study.md", "report.html"} <= names
    assert {f"figures/{name}.svg" for name in drawn} <= names


def test_the_terminal_shows_what_answers_most(study: tuple[Path, Result]) -> None:
    _, result = study
    for words in ("Size, speed-up, accuracy", "Prune potential", "Excess error", "gate's images"):
        assert words in result.stdout
    assert "Nothing was judged" in result.stdout


def test_networks_are_cut_by_every_criterion_and_the_gap_is_the_loss_that_was_lost(
    record: dict[str, Json],
) -> None:
    made = {(each["criterion"], each["steps"]) for each in record["losses"]}
    assert made == {("MP", 1), ("QM", 1), ("QM", 3)}
    for each in record["losses"]:
        assert each["gap"] == each["loss_pruned"] - each["loss_dense"]
        assert each["images"] == 60
    assert [each["networks"] for each in record["loss_correlations"]] == [3]


def test_confidence_on_its_own_pixels_is_on_the_diagonal(record: dict[str, Json]) -> None:
    crossed, features = record["cross"], record["features"]
    assert crossed["networks"] == ["dense", "control", "l2 0.50"]
    for place, each in enumerate(features):
        assert each["pixels"] == 15  # a tenth of 144, rounded up
        assert crossed["matrix"][place][place] == pytest.approx(each["confidence_kept"], rel=1e-6)


def test_tables_are_read_by_pandas_as_they_are(
    study: tuple[Path, Result], record: dict[str, Json]
) -> None:
    pandas = pytest.importorskip("pandas")
    folder, _ = study
    tables = sorted((folder / "tables").glob("*.csv"))
    assert len(tables) >= 8
    for file in tables:
        frame = pandas.read_csv(file)
        assert len(frame) == len(record[file.stem])
        assert list(frame.columns) == list(record[file.stem][0])
    frame = pandas.read_csv(folder / "tables" / "standard.csv")
    assert set(frame["strategy"]) == {"l2", "l2 scratch", "wt"}
    assert frame["post_acc1"].tolist() == [row["post_acc1"] for row in record["standard"]]


@pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed: [study]"
)
def test_parquet_says_the_same_as_csv(study: tuple[Path, Result]) -> None:
    pandas = pytest.importorskip("pandas")
    folder, _ = study
    for file in (folder / "tables").glob("*.csv"):
        other = pandas.read_parquet(file.with_suffix(".parquet"))
        plain = pandas.read_csv(file)
        assert list(other.columns) == list(plain.columns)
        numbers = plain.select_dtypes("number").columns
        pandas.testing.assert_frame_equal(
            other[numbers].astype(float), plain[numbers].astype(float)
        )


def test_columns_of_the_standard_set_are_documented(study: tuple[Path, Result]) -> None:
    folder, _ = study
    pages = Path(__file__).parents[2] / "docs" / "study.md"
    text = pages.read_text()
    with (folder / "tables" / "standard.csv").open() as file:
        for column in next(csv.reader(file)):
            assert f"`{column}`" in text, column


class _Cells(HTMLParser):
    """Texts of cells, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.fetched: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag in {"td", "th"}
        if self._inside:
            self.cells.append("")
        named = dict(attrs)
        self.fetched += [
            value
            for name in ("src", "href", "xlink:href")
            if (value := named.get(name)) and not value.startswith(("#", "data:"))
        ]
        assert tag != "script"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def test_the_page_fetches_nothing_and_shows_the_accuracies_of_the_record(
    study: tuple[Path, Result], record: dict[str, Json]
) -> None:
    folder, _ = study
    page = _Cells()
    page.feed((folder / "report.html").read_text())
    assert page.fetched == []
    for row in record["standard_summary"]:
        assert f"{row['post_acc1']:.2%}" in page.cells
    for each in record["curves"]:
        assert f"{100 * each['drop']:+.1f}" in page.cells


def test_the_page_and_the_text_have_the_same_tables(study: tuple[Path, Result]) -> None:
    folder, _ = study
    page = _Cells()
    page.feed((folder / "report.html").read_text())
    text = (folder / "study.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    cells = [cell.strip() for line in rows for cell in line.strip("|").split("|")]
    assert cells == [cell.strip() for cell in page.cells]


def test_every_name_and_number_in_a_table_is_the_one_at_its_place_in_the_record(
    study: tuple[Path, Result], record: dict[str, Json]
) -> None:
    folder, _ = study
    page = (folder / "report.html").read_text()
    assert wrong(page, record) == []
    tables = ("standard_summary", "overparameterisation", "excess_lines", "similarity", "features",
              "cross", "losses", "curves")  # fmt: skip
    assert all(f'data-path="{name}.' in page for name in tables)


def wrong(page: str, record: dict[str, Json]) -> list[str]:
    """Every cell that does not show what study.json has where it says that it is from."""
    walk, found = walked(page.encode()), []
    for element in walk.traced:
        text, numeric = element.text, []
        for path in str(element.attributes["data-path"]).split():
            value = at(record, path)
            if isinstance(value, str):
                found += [] if value in text else [f"{path}: {text!r} lacks {value!r}"]
                text = text.replace(value, "", 1)
            else:
                numeric.append(value)
        scale = 100 if "%" in text or "data-form" in element.attributes else 1
        # Of a share and a distance, as in "92.6% / 0.104", the first alone is in percent.
        scales = [100, 1] if " / " in text else [scale] * len(numeric)
        shown = numbers(text)
        if len(shown) != len(numeric):
            found.append(f"{element.text!r} has other numbers than {numeric}")
        found += [
            f"{element.text!r} for {value!r}"
            for one, value, times in zip(shown, numeric, scales, strict=False)
            if not agrees(one, times * value)
        ]
    untraced = re.findall(r"<(?:td|th|caption)(?: scope=\"\w+\")?>([^<]*)<", page)
    titles = {"top-1", "top-1 cut", "top-5", "points per ratio of 1", "95 %"}
    found += [
        f"untraced: {text}" for text in untraced if re.search(r"\d", text) and text not in titles
    ]
    return found


def test_a_cell_that_is_not_that_of_the_record_is_found(
    study: tuple[Path, Result], record: dict[str, Json]
) -> None:
    page = (study[0] / "report.html").read_text()
    accuracy = f"{record['standard_summary'][0]['post_acc1']:.2%}"
    assert wrong(page.replace(f">{accuracy}<", ">12.34%<", 1), record)
    assert wrong(page.replace('data-path="losses.0.gap"', 'data-path="losses.0.accuracy"'), record)
    method = record["standard_summary"][0]["strategy"]
    assert wrong(page.replace(f">{method}</th>", ">another</th>", 1), record)
    assert wrong(page.replace("<td>", "<td>7 ", 1), record)


@pytest.mark.parametrize(
    ("gaps", "scale"),
    [((0.5, 2.0, 60.0), "log"), ((0.5, 2.0, 6.0), "linear"), ((-0.1, 2.0, 60.0), "linear")],
)
def test_gaps_far_apart_are_drawn_on_a_logarithmic_axis_where_that_has_a_place_for_all(
    study: tuple[Path, Result], gaps: tuple[float, ...], scale: str
) -> None:
    report = read_study(study[0])
    changed = [
        dataclasses.replace(each, gap=gap) for each, gap in zip(report.losses, gaps, strict=True)
    ]
    figure = losses(report.model_copy(update={"losses": changed}), 600)
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_xscale() == scale
    assert ("logarithmic" in axes.get_xlabel()) == (scale == "log")


def test_drawings_are_files_of_their_own(study: tuple[Path, Result]) -> None:
    folder, _ = study
    for file in (folder / "figures").glob("*.svg"):
        text = file.read_text()
        assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg" ')
        assert "NaN" not in text
        assert not re.search(r'(?:href|src)="(?!#)', text)


def compared(compress: Callable[..., Result], *words: object) -> str:
    result = compress("study", "compare", *map(str, words))
    assert result.exit_code == 0, result.output
    return result.stdout


def renamed(folder: Path, record: dict[str, Json], name: str, **recipe: Json) -> Path:
    """The study under another name, its networks retrained in another way."""
    changed = json.loads(json.dumps(record))
    changed["name"] = name
    for entry in changed["entries"]:
        entry["study"] = name
        entry["terms"]["rates"].update(recipe)
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps(changed))
    return folder


def test_networks_of_one_study_are_ranked_and_scratch_is_not_among_them(
    study: tuple[Path, Result], compress: Callable[..., Result]
) -> None:
    text = compared(compress, study[0])
    assert "tiny/l2" in text
    assert "setup S4.2" in text
    assert "tiny/l2 and tiny/l2 scratch are S1; they differ in base" in text


def test_studies_with_other_learning_rates_are_not_ranked_unless_told_to(
    study: tuple[Path, Result], record: dict[str, Json], tmp_path: Path,
    compress: Callable[..., Result],
) -> None:  # fmt: skip
    other = renamed(tmp_path / "other", record, "other", lr=0.5)
    refused = json.loads(compared(compress, study[0], other, "--json"))
    assert refused["at_least"] == "S3.2"
    assert not any(
        {entry["study"] for entry in group["entries"]} == {"tiny", "other"}
        for group in refused["ranked"]
    )
    assert any("lr" in pair["differing"] for pair in refused["refused"])
    text = compared(compress, study[0], other, "--regardless")
    assert "Not ranked" not in text
    loose = json.loads(compared(compress, study[0], other, "--at-least", "S3.1", "--json"))
    assert any(len(group["entries"]) == 4 for group in loose["ranked"])


def test_what_cannot_be_compared_is_one_message(
    study: tuple[Path, Result], record: dict[str, Json], tmp_path: Path,
    compress: Callable[..., Result],
) -> None:  # fmt: skip
    old = tmp_path / "old"
    old.mkdir()
    (old / "study.json").write_text(json.dumps({**record, "schema_version": 2}))
    for words, message in (
        ((tmp_path,), "is no finished study"),
        ((old,), "schema_version"),
        ((study[0], study[0]), "two studies are called tiny"),
    ):
        result = compress("study", "compare", *map(str, words))
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("importance: l2", "importance: best", "'best' is unknown"),
        ("contrast-5", "contrast-9", "severities are 1 to 5"),
        ("name: tiny", "name: tiny\nproject: nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_unusable_input_is_one_message_and_leaves_nothing(
    tmp_path: Path, root: Path, compress: Callable[..., Result], old: str, new: str, message: str
) -> None:
    text = ALL.replace("model.pt", str(root / "model.pt")).replace(old, new)
    if "project:" not in text:
        text = f"project: {root / 'compress.yaml'}\n{text}"
    (tmp_path / "study.yaml").write_text(text)
    result = compress("study", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [0, 1])
def test_a_study_of_one_point_or_of_none_is_drawn_and_told(
    study: tuple[Path, Result], count: int
) -> None:
    whole = read_study(study[0])
    rows = (
        "networks", "curves", "potentials", "overparameterisation", "excess", "excess_lines",
        "similarity", "standard", "standard_summary", "losses", "loss_correlations", "features",
    )  # fmt: skip
    few = whole.model_copy(
        update={name: getattr(whole, name)[:count] for name in rows} | {"cross": None}
    )
    found = drawings(few)
    assert len(found) == (5 if count else 0)
    page, text = draw_study(few, found).decode(), as_markdown(few)
    assert ("No network was made." in text) == (count == 0)
    assert ("No network was made." in page) == (count == 0)
    drawn = "".join(each.wide + each.narrow for each in found.values())
    assert "nan" not in drawn.lower()
