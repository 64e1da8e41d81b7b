import contextlib
import io
from collections.abc import Iterator

import pytest

from compressor.terminal import Silent, Terminal


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What people and CI services set must not decide these tests."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@contextlib.contextmanager
def tty() -> Iterator[io.StringIO]:
    """A standard error that says it is a terminal."""
    # Not monkeypatch in a fixture: pytest sets its own standard error after those.
    with contextlib.redirect_stderr(_Tty()) as stream:
        yield stream


def test_elsewhere_than_on_a_terminal_lines_are_plain_and_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "[bold]one line[/bold] :smile: " + "of many words " * 20
    with Terminal() as watch:
        watch.say(text)
    captured = capsys.readouterr()
    assert captured.err == text + "\n"
    assert captured.out == ""


def test_elsewhere_progress_is_a_line_for_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal() as watch:
        for done in range(1, 1001):
            watch.progress("retrain", done, 1000, "loss 0.1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "retrain: 1 of 1,000 loss 0.1"
    assert lines[-1] == "retrain: 1,000 of 1,000 loss 0.1"


def test_on_a_terminal_there_are_bars_in_colour() -> None:
    with tty() as stream, Terminal() as watch:
        watch.progress("retrain", 1, 4, "loss 0.1")
        watch.say("a line")
        watch.progress("retrain", 4, 4)
        watch.progress("retrain", 4, 4)
    assert "retrain" in stream.getvalue()
    assert "a line" in stream.getvalue()
    assert "\x1b[38;5;" in stream.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with tty() as stream, Terminal() as watch:
        watch.progress("retrain", 1, 4, "loss 0.1")
    assert "retrain" in stream.getvalue()
    assert "\x1b[3" not in stream.getvalue()


def test_bars_are_gone_after_an_error() -> None:
    def broken() -> None:
        with Terminal() as watch:
            watch.progress("retrain", 1, 4)
            raise LookupError

    with tty() as stream, pytest.raises(LookupError):
        broken()
    assert stream.getvalue().endswith(("\x1b[2K", "\x1b[?25h", "\n"))


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    Silent().say("a line")
    Silent().progress("retrain", 1, 4)
    assert capsys.readouterr() == ("", "")
