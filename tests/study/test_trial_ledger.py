import json
import multiprocessing
import time
from pathlib import Path

import pytest

from compressor.study.trial_ledger import StudyLedgerError, TrialLedger, done, failed
from compressor.study.trials import Trial, trial


def numbered(number: int) -> Trial:
    return trial("prune", {"number": number}, conditions={})


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(path=tmp_path / "study" / "ledger.jsonl")


def test_an_id_hangs_on_everything_and_on_nothing_else() -> None:
    first = trial(
        "prune", {"ratio": 0.5, "seed": 0}, conditions={"recipe": {"lr": 0.1, "epochs": 2}}
    )
    same = trial(
        "prune", {"seed": 0, "ratio": 0.5}, conditions={"recipe": {"epochs": 2, "lr": 0.1}}
    )
    assert first.id == same.id
    others = [
        trial("control", first.about, conditions={"recipe": {"lr": 0.1, "epochs": 2}}),
        trial("prune", {"ratio": 0.5, "seed": 1}, conditions={"recipe": {"lr": 0.1, "epochs": 2}}),
        trial("prune", first.about, conditions={"recipe": {"lr": 0.1, "epochs": 3}}),
        trial(
            "prune", first.about, conditions={"recipe": {"lr": 0.1, "epochs": 2}},
            after=[numbered(0)],
        ),
    ]  # fmt: skip
    assert len({first.id, *(each.id for each in others)}) == 5


def test_what_is_written_is_read_back_and_the_last_record_of_a_trial_counts(
    ledger: TrialLedger,
) -> None:
    assert ledger.read() == {}
    bad, good = failed(numbered(1), "Traceback", seconds=1), done(numbered(1), {"n": 3}, seconds=2)
    for record in (bad, done(numbered(2), {}, seconds=0), good):
        ledger.append(record)
    assert ledger.read()[numbered(1).id] == good
    assert list(ledger.read(only={numbered(2).id})) == [numbered(2).id]
    assert len(ledger.path.read_bytes().splitlines()) == 4


@pytest.mark.parametrize("torn", [1, 7, 60])
def test_a_line_that_its_writer_did_not_finish_is_no_record_and_harms_none(
    ledger: TrialLedger, torn: int
) -> None:
    for number in range(3):
        ledger.append(done(numbered(number), {}, seconds=0))
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-torn])
    assert len(ledger.read()) == 2
    ledger.append(done(numbered(2), {}, seconds=0))
    assert len(ledger.read()) == 3
    assert b"" not in ledger.path.read_bytes().splitlines()


def test_a_header_that_was_not_finished_is_written_again(ledger: TrialLedger) -> None:
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(b'{"kind": "stu')
    assert ledger.read() == {}
    ledger.append(done(numbered(0), {}, seconds=0))
    assert len(ledger.read()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"kind": "study-ledger", "schema_version": 7}\n', r"version 7, and this program"),
        ('{"schema_version": 1, "images": {}}\n', r"not the ledger of a study"),
        ("what?\n", r"not the ledger of a study"),
        ('{"kind": "study-ledger", "schema_version": 1}\n{"trial": 3}\n', r"line 2: no record"),
    ],
)
def test_another_file_is_one_clear_message(ledger: TrialLedger, content: str, message: str) -> None:
    ledger.path.parent.mkdir()
    ledger.path.write_text(content)
    with pytest.raises(StudyLedgerError, match=message):
        ledger.read()


def test_a_number_that_is_none_cannot_be_recorded() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        done(numbered(0), {"loss": float("nan")}, seconds=0)


def append_many(path: Path, first: int) -> None:
    for number in range(first, first + 50):
        TrialLedger(path=path).append(done(numbered(number), {"x": "y" * 3000}, seconds=0))


def test_writers_at_the_same_time_lose_no_line(ledger: TrialLedger) -> None:
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=append_many, args=(ledger.path, 100 * number)) for number in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(ledger.read()) == 150
    assert len(ledger.path.read_bytes().splitlines()) == 151


def test_two_hundred_trials_are_read_in_less_than_two_seconds(ledger: TrialLedger) -> None:
    epoch = {"epoch": 1, "loss": 0.5, "accuracy": 0.9, "lr_first": 0.1, "lr_last": 0.1}
    for number in range(200):
        ledger.append(done(numbered(number), {"epochs": [epoch] * 182}, seconds=60))
    start = time.process_time()
    assert len(ledger.read()) == 200
    assert time.process_time() - start < 2.0


def test_a_record_says_where_it_was_made(ledger: TrialLedger) -> None:
    ledger.append(done(numbered(0), {}, seconds=1.5))
    line = json.loads(ledger.path.read_bytes().splitlines()[1])
    assert line["seconds"] == 1.5
    assert ":" in line["by"]
    assert line["about"] == {"number": 0}
