"""The progress of a job on a terminal and in a file."""

import re

from terminals import drawn_on_terminal

from bert_jax import progress
from data_prep.job.job_progress import JobProgress

CODE = """
from data_prep.job.job_progress import JobProgress
with JobProgress([3_000_000, 1_000_000]) as progress:
    progress.share(0, 0.5)
    progress.done(0, 1234)
    progress.done(1, 77)
"""


def test_terminal_shows_a_bar_with_speed_and_time_left():
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn_on_terminal(CODE, 100))
    assert "━" in text and "100%" in text and "MB/s  1,311 examples  part 2 of 2" in text


def test_without_a_terminal_lines_are_printed_at_intervals(capsys, monkeypatch):
    with JobProgress([3_000_000, 1_000_000]) as job:
        job.done(0, 5)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.0)
    with JobProgress([3_000_000, 1_000_000]) as job:
        job.done(0, 5)
    assert re.fullmatch(r"shards  75%  [\d.]+ MB/s  5 examples  part 1 of 2  after 0:00:00\n", capsys.readouterr().err)
