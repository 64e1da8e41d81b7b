from pathlib import Path

import pytest

from compressor.config import ConfigError
from compressor.study.grid import distributions, load_grid

GOOD = """\
apiVersion: compress-study/v1
name: good
model: net.pt
methods:
  l2: {importance: l2}
  wt: {mask: magnitude}
ratios: [30%, 0.5, 4x]
images: {of: tune, count: 100}
"""


def loaded(tmp_path: Path, text: str) -> object:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return load_grid(file)


def test_ratios_are_shares_percentages_or_compressions(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(GOOD)
    assert load_grid(tmp_path / "study.yaml").ratios == (0.3, 0.5, 0.75)


def test_suites_of_shifts_are_what_the_benchmark_has(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    for name, count in (("benchmark-3", 15), ("all-2", 19)):
        file.write_text(f"{GOOD}shifts: {{held_out: [{name}, fog-3, uniform_noise-0.05]}}\n")
        seen = distributions(load_grid(file))
        extra = 1 if name == "benchmark-3" else 2
        assert len(seen) == 1 + count + extra
        assert [each.id for each in seen if each.group == "train"] == ["clean"]
        assert next(s for s in seen if s.id == "uniform_noise-0.05").component.level == 0.05


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "importance: l2",
            "importance: l3",
            r":5: methods\.l2\.importance: 'l3' is unknown; known are l1",
        ),
        ("mask: magnitude", "mask: wt", r":6: methods\.wt\.mask: 'wt' is unknown; known are magn"),
        ("{mask: magnitude}", "{steps: 2}", r":6: .*exactly one of importance and mask"),
        ("30%", "0.5", r":7: ratios.*rise strictly|ratios must rise strictly"),
        ("4x", "0.5x", r":7: ratios\[2\]: '0.5x' makes nothing smaller"),
        ("4x", "manyx", r":7: ratios\[2\]: 'manyx' is no compression"),
        ("of: tune", "of: train", r":8: images\.of"),
        ("count: 100", "cuont: 100", r":8: images\.cuont: unknown key; did you mean 'count'"),
        ("name: good", "name: good\nseeds: [1, 1]", r"seeds has one twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("shifts: {held_out: [fgo-3]}", r":9: shifts\.held_out\[0\]: 'fgo-3' is no shift.*fog-3"),
        ("shifts: {held_out: [fog]}", r"'fog' is no shift at a severity"),
        ("shifts: {held_out: [fog-6]}", r"'fog-6': severities are 1 to 5"),
        ("shifts: {train: [fog-mild]}", r":9: shifts\.train\[0\]: .*'mild' is no severity"),
        ("noise: {levels: [0.2, 0.1]}", r":9: noise: levels must rise"),
        ("parts: [features]", r":9: parts: features needs the key features"),
        ("parts: [beauty]", r":9: parts\[0\]"),
    ],
)
def test_a_wrong_distribution_or_part_is_told_with_its_line(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, f"{GOOD}{line}\n")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("importance: l2", "importance: l3").replace("magnitude", "size")
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml"):
        load_grid(tmp_path / "none.yaml")
