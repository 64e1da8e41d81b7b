"""The record of uses of the gate's images: what it counts, and which hands it notices."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from compressor.cli import main
from compressor.config import ArchiveSource, FactorySource, FolderSource, Source, TorchvisionSource
from compressor.files import digest_of
from compressor.ledger import (
    Entry,
    LedgerError,
    Use,
    check_contains,
    describe,
    foresee,
    ledger_path,
    read_ledger,
    record,
)

ROOT: Final = Path(__file__).parents[2]

GATE: Final = "a" * 64
FIELD: Final = "f" * 64


def entry(plan: str = "plan", **changed: object) -> Entry:
    made = Entry(
        images={"gate": GATE},
        plan=plan,
        job="gate",
        policy="dashcam",
        policy_digest="d" * 64,
        alpha_spent=0.005,
        releases=10,
        dense="dense",
        candidates=("small",),
        seed=0,
    )
    return replace(made, **changed)  # type: ignore[arg-type]  # the tests' own values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "holdout-ledger.jsonl"


@pytest.fixture
def three(path: Path) -> Path:
    """A ledger with three uses of the same images."""
    for number in range(3):
        record(path, entry(f"plan {number}"))
    return path


def rewritten(line: bytes, **changed: object) -> bytes:
    """A line with other values and a digest that fits them, as a careful forger would make it."""
    content = {**json.loads(line), **changed}
    del content["digest"]
    digest = digest_of(json.dumps(content).encode())
    return json.dumps({**content, "digest": digest}).encode() + b"\n"


def test_each_plan_is_one_use(path: Path) -> None:
    uses = [record(path, entry(f"plan {number}")) for number in range(3)]
    assert [use.ordinal for use in uses] == [1, 2, 3]
    assert [use.number_of_uses for use in uses] == [1, 2, 3]
    assert {use.releases for use in uses} == {10}


def test_the_same_plan_again_is_the_same_use(three: Path) -> None:
    before = three.read_bytes()
    again = record(three, entry("plan 1"))
    assert three.read_bytes() == before
    assert again.ordinal == 2
    assert again.number_of_uses == 3
    assert again.entry_digest == read_ledger(three)[1].digest


def test_the_same_plan_for_another_network_is_another_use(three: Path) -> None:
    assert record(three, entry("plan 1", dense="of changed code")).ordinal == 4


def test_another_seed_is_another_use_and_the_message_says_so(three: Path) -> None:
    use = record(three, entry("plan 0 reseeded", seed=1))
    assert use.ordinal == 4
    assert use.reseeded == 1
    assert describe(use) == (
        "the 4th of 10 releases that share these images; line 1 is the same with another seed, and "
        "a new seed is a new use"
    )


def test_another_seed_of_another_model_is_not_held_to_be_the_same(three: Path) -> None:
    assert record(three, entry("other", seed=1, candidates=("other",))).reseeded is None


@pytest.mark.parametrize(
    "changed",
    [
        {"policy": "other", "policy_digest": "e" * 64},
        {"job": "compress", "candidates": ()},
        {"dense": "other"},
        {"releases": None, "alpha_spent": 0.05},
        {"images": {"rain": GATE}},
    ],
)
def test_a_use_of_the_images_counts_whoever_makes_it(
    three: Path, changed: dict[str, object]
) -> None:
    assert record(three, entry("other", **changed)).ordinal == 4


def test_other_images_have_a_count_of_their_own(three: Path) -> None:
    use = record(three, entry("other", images={"gate": "b" * 64}))
    assert (use.ordinal, use.number_of_uses) == (1, 1)


def test_of_several_sets_of_images_that_which_was_used_most_counts(path: Path) -> None:
    for number in range(2):
        record(path, entry(f"gate {number}"))
    for number in range(4):
        record(path, entry(f"field {number}", images={"gate": "b" * 64, "rain": FIELD}))
    both = record(path, entry("both", images={"gate": GATE, "rain": FIELD}))
    assert (both.ordinal, both.number_of_uses) == (5, 5)
    assert record(path, entry("gate again")).ordinal == 4


def test_two_rules_on_the_same_images_are_one_use(path: Path) -> None:
    assert record(path, entry(images={"gate": GATE, "rain": GATE})).ordinal == 1
    assert record(path, entry("other")).ordinal == 2


def test_the_releases_of_the_policy_exhaust_the_images(path: Path) -> None:
    uses = [record(path, entry(f"plan {number}", releases=2)) for number in range(4)]
    assert [use.exhausted for use in uses] == [False, False, True, True]
    assert describe(uses[1]) == "the 2nd of 2 releases that share these images"
    assert describe(uses[2]) == (
        "these images have served 2 releases, as many as the policy allows; this would be the 3rd: "
        "gate with new images"
    )
    assert "have served 3 releases, and the policy allows 2; this would be the 4th" in describe(
        uses[3]
    )


def test_a_use_within_the_limit_stays_so_when_it_is_repeated_later(path: Path) -> None:
    first = record(path, entry("first", releases=1))
    assert record(path, entry("second", releases=1)).exhausted
    again = record(path, entry("first", releases=1))
    assert not again.exhausted
    assert describe(again) == describe(first)


def test_without_a_limit_each_run_stands_for_itself(path: Path) -> None:
    uses = [
        record(path, entry(f"plan {number}", releases=None, alpha_spent=0.05))
        for number in range(4)
    ]
    assert [use.exhausted or use.overspent for use in uses] == [False] * 4
    assert describe(uses[3]) == (
        "the 4th use of these images; the policy sets no limit, so that the promise holds for each "
        "run by itself, not for all together"
    )


def test_shares_of_alpha_that_make_up_the_whole_are_not_more(path: Path) -> None:
    # 1/3 + 7/14 + 2/12 = 1, but the sum of these shares of 0.03 as floats is above 0.03.
    shares = [3, *[14] * 7, *[12] * 2]
    uses = [
        record(path, entry(f"plan {number}", alpha_spent=0.03 / releases, releases=releases))
        for number, releases in enumerate(shares)
    ]
    assert uses[-1].alpha_spent > uses[-1].alpha_shared
    assert [use.overspent for use in uses] == [False] * 10


def test_what_other_policies_have_spent_of_the_images_is_told(path: Path) -> None:
    record(path, entry("greedy", releases=None, alpha_spent=0.05))
    use = record(path, entry("modest"))
    assert not use.exhausted
    assert use.overspent
    assert describe(use) == (
        "the 2nd of 10 releases that share these images; the uses so far, those under other "
        "policies among them, have spent 5.5 %, more than the 5 % that the policy promises"
    )


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"),
     (21, "21st"), (102, "102nd"), (111, "111th")],
)  # fmt: skip
def test_numbers_are_said_as_a_reader_would(number: int, said: str) -> None:
    use = Use(
        number_of_uses=number, ordinal=number, releases=200, entry_digest="", alpha_spent=0.01,
        alpha_shared=0.05, reseeded=None,
    )  # fmt: skip
    assert describe(use) == f"the {said} of 200 releases that share these images"


def test_what_is_foreseen_is_what_is_then_recorded(three: Path) -> None:
    before = three.read_bytes()
    foreseen = foresee(three, entry("next"))
    assert three.read_bytes() == before
    assert record(three, entry("next")) == foreseen == foresee(three, entry("next"))


def test_foreseeing_makes_no_file(path: Path) -> None:
    assert foresee(path, entry()).ordinal == 1
    assert list(path.parent.iterdir()) == []


def test_every_field_of_an_entry_is_in_its_line(path: Path) -> None:
    given = entry(images={"rain": FIELD, "gate": GATE}, releases=None, candidates=("é", "b"))
    use = record(path, given)
    (line,) = read_ledger(path)
    assert line.entry == given
    assert line.digest == use.entry_digest
    assert json.loads(path.read_text())["previous"] == "0" * 64


def edited(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b"dashcam", b"lenient"), lines[2]]


def edited_last(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b'"alpha_spent": 0.005', b'"alpha_spent": 0.001')]


def forged(lines: list[bytes]) -> list[bytes]:
    return [lines[0], rewritten(lines[1], alpha_spent=0.001), lines[2]]


def first_removed(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def middle_removed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2]]


def removed_and_renumbered(lines: list[bytes]) -> list[bytes]:
    return [lines[0], rewritten(lines[2], number=2)]


def reordered(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1]]


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[2]]


def inserted(lines: list[bytes]) -> list[bytes]:
    return [lines[0], rewritten(lines[1], plan="never run"), *lines[1:]]


def without_its_end(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2][:40]]


def without_its_last_newline(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].rstrip()]


def other_line_endings(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b"\n", b"\r\n") for line in lines]


def other_spaces(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b": ", b":"), lines[2]]


def with_a_blank_line(lines: list[bytes]) -> list[bytes]:
    return [*lines, b"\n"]


def with_an_unknown_key(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], rewritten(lines[2], verdict="accepted")]


def with_a_key_twice(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b'"seed": 0', b'"seed": 1, "seed": 0')]


def merged(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], b"<<<<<<< HEAD\n", lines[2], b"=======\n"]


def not_even_text(lines: list[bytes]) -> list[bytes]:
    return [*lines, b"\xff\xfe\n"]


@pytest.mark.parametrize(
    ("tamper", "line", "reason"),
    [
        (edited, 2, "was changed"),
        (edited_last, 3, "was changed"),
        (forged, 3, "follows another line"),
        (first_removed, 1, "line 2 stands here"),
        (middle_removed, 2, "line 3 stands here"),
        (removed_and_renumbered, 2, "follows another line"),
        (reordered, 2, "line 3 stands here"),
        (doubled, 4, "line 3 stands here"),
        (inserted, 3, "line 2 stands here"),
        (without_its_end, 3, "not a line of a ledger"),
        (without_its_last_newline, 3, "was changed"),
        (other_line_endings, 1, "was changed"),
        (other_spaces, 2, "was changed"),
        (with_a_blank_line, 4, "not a line of a ledger"),
        (with_an_unknown_key, 3, "not a line of a ledger (verdict"),
        (with_a_key_twice, 3, "was changed"),
        (merged, 3, "not a line of a ledger"),
        (not_even_text, 4, "not a line of a ledger"),
    ],
)
def test_what_other_hands_did_is_found_named_and_left_as_it_is(
    three: Path, tamper: Callable[[list[bytes]], list[bytes]], line: int, reason: str
) -> None:
    kept = read_ledger(three)[0].digest
    damaged = b"".join(tamper(three.read_bytes().splitlines(keepends=True)))
    three.write_bytes(damaged)
    attempts: list[Callable[[], object]] = [
        lambda: read_ledger(three),
        lambda: foresee(three, entry("next")),
        lambda: record(three, entry("next")),
        lambda: check_contains(three, kept),
    ]
    for attempt in attempts:
        with pytest.raises(LedgerError) as caught:
            attempt()
        assert str(caught.value).startswith(f"{three}, line {line}: ")
        assert reason in str(caught.value)
        assert "restore the file from version control" in str(caught.value)
    assert three.read_bytes() == damaged


def test_a_use_that_was_cut_off_the_end_is_missed_by_its_run(three: Path) -> None:
    digests = [line.digest for line in read_ledger(three)]
    for digest in digests:
        check_contains(three, digest)
    three.write_bytes(b"".join(three.read_bytes().splitlines(keepends=True)[:2]))
    check_contains(three, digests[1])
    with pytest.raises(LedgerError, match=f"has lost the use {digests[2][:12]}.*restore"):
        check_contains(three, digests[2])


def test_a_use_in_a_file_that_is_gone_is_missed_by_its_run(path: Path) -> None:
    digest = record(path, entry()).entry_digest
    path.unlink()
    with pytest.raises(LedgerError, match="has lost the use"):
        check_contains(path, digest)


def test_an_entry_that_makes_no_sense_never_reaches_the_file(three: Path) -> None:
    before = three.read_bytes()
    wrong: dict[str, object] = {"alpha_spent": 0.0, "releases": 0, "images": {}}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            record(three, entry("wrong", **{name: value}))
    assert three.read_bytes() == before


def test_a_place_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"cannot write .*data\.ledger of compress\.yaml"):
        record(tmp_path / "file" / "ledger.jsonl", entry())


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot read"):
        read_ledger(tmp_path)
    with pytest.raises(LedgerError, match="cannot write"):
        record(tmp_path, entry())


def test_a_full_disk_leaves_the_ledger_whole(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = three.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerError, match="No space left on device"):
        record(three, entry("next"))
    assert three.read_bytes() == before
    assert {file.name for file in three.parent.iterdir()} == {three.name, f".{three.name}.lock"}


def test_a_link_to_a_ledger_stays_a_link(three: Path, tmp_path: Path) -> None:
    link = tmp_path / "linked.jsonl"
    link.symlink_to(three)
    assert record(link, entry("next")).ordinal == 4
    assert link.is_symlink()
    assert len(read_ledger(three)) == 4


WRITER: Final = """
import sys
from pathlib import Path
from compressor.ledger import Entry, record

print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    record(Path(sys.argv[1]), Entry(
        images={"gate": "a" * 64}, plan=f"{sys.argv[2]} {number}", job="gate", policy="p",
        policy_digest="d", alpha_spent=0.01, releases=None, dense="dense", candidates=("c",),
        seed=number,
    ))
"""


def test_processes_that_record_at_once_lose_no_line(path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("left", "right")
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    lines = read_ledger(path)
    assert [line.number for line in lines] == list(range(1, 41))
    assert sorted(line.entry.plan for line in lines) == sorted(
        f"{name} {number}" for name in ("left", "right") for number in range(20)
    )


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        (FolderSource(folder=Path("/data/test")), "/data"),
        (FolderSource(folder=Path("/project/../data/test/")), "/data"),
        (FolderSource(folder=Path("test")), "/project"),
        (ArchiveSource(npz=Path("/data/gate.npz")), "/data"),
        (TorchvisionSource(torchvision="MNIST", root=Path("/data/sets"), split="test"), "/data"),
        (FactorySource(factory="mine:images"), "/project"),
    ],
)
def test_a_ledger_lies_beside_the_images(source: Source, folder: str) -> None:
    found = ledger_path(source, root=Path("/project"))
    assert found == Path(folder) / "holdout-ledger.jsonl"


def test_the_ledger_needs_no_framework() -> None:
    code = "import sys, compressor.ledger, compressor.ledger_list; print(*sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert {"torch", "onnx", "onnxruntime", "scipy"} & set(child.stdout.split()) == set()


def show(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ledger", "show", *arguments])


def test_show_lists_every_use_and_what_the_images_have_served(path: Path) -> None:
    record(path, entry("first", images={"gate": GATE, "rain": FIELD}))
    record(path, entry("second", job="compress", candidates=(), seed=7))
    record(path, entry("third", images={"gate": GATE, "sun": GATE}))
    result = show(str(path))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "use  job       policy            images                        candidates  alpha  seed",
        "1    gate      dashcam dddddddd  gate aaaaaaaa, rain ffffffff  small       0.5 %  0",
        "2    compress  dashcam dddddddd  gate aaaaaaaa                 -           0.5 %  7",
        "3    gate      dashcam dddddddd  gate aaaaaaaa, sun aaaaaaaa   small       0.5 %  0",
        "",
        "gate aaaaaaaa: 3 uses, alpha spent 1.5 %",
        "rain ffffffff: 1 use, alpha spent 0.5 %",
        "",
        f"{path}: no line was changed or moved; the last is {read_ledger(path)[2].digest}",
    ]


def test_show_of_a_changed_ledger_says_what_is_wrong(three: Path) -> None:
    three.write_bytes(three.read_bytes().replace(b"dashcam", b"lenient", 1))
    result = show(str(three))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"compress: {three}, line 1: " in result.stderr


def test_show_of_a_ledger_that_is_not_there_is_no_success(path: Path) -> None:
    result = show(str(path))
    assert result.exit_code == 2
    assert "no use is recorded" in result.stderr


@pytest.mark.parametrize(
    ("setting", "place"), [("", "sets"), (", ledger: kept/uses.jsonl", "kept")]
)
def test_show_finds_the_ledger_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, place: str
) -> None:
    (tmp_path / "compress.yaml").write_text(
        "input: {size: [1, 8, 8], mean: [0.5], std: [0.5]}\n"
        f"data: {{train: {{folder: sets/train}}, gate: {{folder: sets/test}}{setting}}}\n"
    )
    file = tmp_path / place / ("uses.jsonl" if setting else "holdout-ledger.jsonl")
    record(file, entry())
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    result = show()
    assert result.exit_code == 0, result.output
    assert str(file) in result.stdout


def test_show_without_a_project_asks_for_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = show()
    assert result.exit_code == 2
    assert "give the path of the ledger" in result.stderr


def study(**changed: object) -> Entry:
    return entry("study", job="study", alpha_spent=0.0, releases=None, candidates=(), **changed)


def test_every_use_after_a_study_of_the_same_images_tells_of_it(three: Path) -> None:
    assert not record(three, study()).studies
    after = record(three, entry("plan 3"))
    assert after.ordinal == 5
    assert after.studies == (4,)
    assert describe(after).endswith(
        "; studied before (line 4): what was chosen by that, they do not certify"
    )


def test_a_study_says_nothing_of_uses_before_it_or_of_other_images(three: Path) -> None:
    before = describe(record(three, entry("plan 2")))
    record(three, study())
    assert describe(record(three, entry("plan 2"))) == before
    assert not record(three, entry("plan 3", images={"gate": FIELD})).studies


def test_a_study_spends_no_alpha(three: Path) -> None:
    record(three, study())
    assert record(three, entry("plan 3")).alpha_spent == pytest.approx(4 * 0.005)
