"""The progress line: on terminals of several widths, on one that cannot redraw, and without a terminal."""

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminals import drawn_on_terminal

from bert_jax import progress
from bert_jax.progress import Progress, as_clock, fitted, in_words
from bert_jax.status_line import cells

FIRST, MORE = ("120/20,000", "left 3 d 07:18:51"), ("loss 2.345", "mlm_accuracy 0.412", "1,234 tokens/s", "MFU 12.3%")
JOB = """
import time
from bert_jax import progress
from bert_jax.terminal import note
progress.FIRST_LINE_SECONDS, progress.DRAW_SECONDS = 0.0, 0.01
with progress.Progress("rows lr-5e-05-batch-16-seed-0", 20_000, "") as job:
    job.at(120, details=["loss 2.345", "accuracy 0.412", "1,234 tokens/s"], left=285_531.0)
    note("a remark")
    with job.doing_now("scoring"):
        job.at(121, details=["loss 2.345", "accuracy 0.412", "1,234 tokens/s"], left=285_531.0)
        time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("seconds", "clock", "words"),
    [
        (0.2, "0:00:00", "less than a second"),
        (59.6, "0:01:00", "1 minute"),
        (425, "0:07:05", "7 minutes"),
        (26_331, "7:18:51", "7 hours 19 minutes"),
        (285_531, "3 d 07:18:51", "3 days 7 hours"),
        (86_399, "23:59:59", "1 day"),
    ],
)
def test_durations_are_formatted_with_days(seconds, clock, words):
    assert as_clock(seconds) == clock and in_words(seconds) == words


@given(st.integers(1, 250), st.text(max_size=60), st.none() | st.floats(0, 1))
def test_line_fits_the_terminal(width, title, share):
    assert cells(fitted(title, FIRST, MORE, share, width)) <= width


@pytest.mark.parametrize("width", [59, 79, 199])
def test_narrow_lines_keep_step_and_time_left_and_drop_the_bar(width):
    line = fitted("rows lr-5e-05-batch-16-seed-0", FIRST, MORE, 0.5, width)
    assert all(text in line for text in FIRST)
    assert ("━" in line) == (width == 199)
    assert ("loss" in line) == (width > 59) and (MORE[-1] in line) == (width == 199)


def run_on_terminal(columns: int, **environment: str) -> tuple[list[str], str]:
    """Run JOB on a terminal; return the lines that it draws and everything that it writes."""
    text = drawn_on_terminal(JOB, columns, **environment)
    return [line for line in re.split(r"\r\x1b\[K|\r\n", text) if line], text


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_terminal_gets_one_line_that_fits(columns):
    lines, text = run_on_terminal(columns)
    assert "note: a remark" in lines and "\x1b[3" not in text  # no colours, whatever NO_COLOR says
    drawn = [line for line in lines if line.startswith("rows")]
    assert drawn and all(len(line) < columns and "120/20,000" in line for line in drawn[:1])
    assert "left 3 d 07:18:51" in drawn[0] and any("121/20,000" in line for line in drawn[1:])
    assert text.endswith("\r\x1b[K")  # nothing is left of it


def test_terminal_without_redrawing_gets_lines():
    lines, text = run_on_terminal(80, TERM="dumb")
    assert "\x1b" not in text
    assert any(line.startswith("rows lr-5e-05-batch-16-seed-0  120/20,000  left 3 d 07:18:51") for line in lines)


def test_bar_is_ascii_if_the_encoding_lacks_it(capfdbinary):
    lines, _ = run_on_terminal(200, PYTHONIOENCODING="ascii")
    assert any("#" in line or "..." in line for line in lines) and not any("\\u" in line for line in lines)


def test_inner_job_counts_as_part_of_the_outer(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.0)
    with Progress("predicting", 30, "rows") as outer, outer.part(10), Progress("computing", 4) as inner:
        inner.advance(3)
    assert "predicting  8/30 rows" in capsys.readouterr().err
    assert outer.share == 1 / 3


def test_finished_job_shows_the_time_left_of_its_inner_job():
    """Scoring after the last step: "left 0:00:00" would be wrong, and hide how far the scoring is at 80 columns."""
    job, scoring = Progress("pre-training", 60, "", estimates=True), Progress("held-out batches", 125, "")
    job.at(60, details=["loss 2.345"], left=0.0)
    scoring._began, scoring._done = 0.0, 75.0
    job._within.append(scoring)
    job.begin("scoring")
    line = fitted(job.title, *job._fields(job._doing_since + 15.0), job.share, 79)
    assert "60/60  scoring 0:00:15  held-out batches 75/125 left " in line and "left 0:00:00" not in line


def test_first_step_gives_no_estimate_of_the_time_left(capsys, monkeypatch):
    """The first step includes compilation."""
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "FEWEST_SECONDS", 0.0)
    for estimates in (True, False):
        with Progress("training", 30, "", estimates=estimates) as job:
            job.at(1, details=["loss 2.3"])
        assert ("left" in capsys.readouterr().err) != estimates


def test_library_calls_have_no_line(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.0)

    def call() -> None:
        with Progress("computing", 4, has_line=False) as job:
            job.at(4, details=["all"])

    with Progress("another thread's", 3, "") as job:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        assert job.share == 0.0
    call()
    assert "computing" not in capsys.readouterr().err
