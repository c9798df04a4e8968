"""Recognition of the training examples of a run."""

import numpy as np
import pytest

from bert_jax.data.encoded import Encoded
from bert_jax.errors import UserError
from bert_jax.finetuning import trained_on
from bert_jax.finetuning.task_data import Examples
from bert_jax.finetuning.trained_on import HASHES_FILE, find_trained_on, write_trained_on


def examples_of(rows: list[list[int]], *, group: int = 1, owner: list[int] | None = None) -> Examples:
    offsets = np.cumsum([0, *map(len, rows)])
    tokens = np.array([token for row in rows for token in row], np.int32)
    count = len(rows) // group if owner is None else owner[-1] + 1
    lengths = np.array(list(map(len, rows)), np.int32)
    encoded = Encoded(
        tokens=tokens,
        offsets=offsets,
        segment_b=lengths,
        labels=np.zeros(count, np.int32),
        pad=0,
        max_length=9,
        dropped=0,
        truncated=0,
        group=group,
    )
    return Examples(encoded, count, dict, dict, None if owner is None else np.array(owner))  # type: ignore[arg-type]


def test_rows_with_the_same_tokens_are_recognised(tmp_path):
    assert find_trained_on(tmp_path, examples_of([[1]])) is None
    write_trained_on(tmp_path, examples_of([[1, 2, 3], [4], [1, 2, 3], [5, 6]]))
    seen, complete = find_trained_on(tmp_path, examples_of([[4], [1, 2], [1, 2, 3], [6, 5], [5, 6, 7]]))
    assert seen.tolist() == [True, False, True, False, False] and complete
    write_trained_on(tmp_path, examples_of([[9]]))  # the first hashes are kept
    assert not find_trained_on(tmp_path, examples_of([[9]]))[0].any()


def test_long_texts_match_by_their_first_window_and_choices_by_all(tmp_path):
    write_trained_on(tmp_path, examples_of([[1], [2], [3], [4]], owner=[0, 0, 1, 1]))
    assert find_trained_on(tmp_path, examples_of([[1], [3], [2], [4]], owner=[0, 1, 2, 3]))[0].tolist() == [
        True,
        True,
        False,
        False,
    ]
    (tmp_path / HASHES_FILE).unlink()
    write_trained_on(tmp_path, examples_of([[1], [2], [3], [4]], group=2))
    assert find_trained_on(tmp_path, examples_of([[3], [4], [1], [4]], group=2))[0].tolist() == [True, False]


def test_only_the_smallest_hashes_of_large_data_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(trained_on, "MOST_HASHES", 3)
    rows = [[i] for i in range(10)]
    write_trained_on(tmp_path, examples_of(rows))
    seen, complete = find_trained_on(tmp_path, examples_of(rows))
    assert seen.sum() == 3 and not complete


def test_a_truncated_file_is_refused(tmp_path):
    write_trained_on(tmp_path, examples_of([[1], [2]]))
    (tmp_path / HASHES_FILE).write_bytes((tmp_path / HASHES_FILE).read_bytes()[:-3])
    with pytest.raises(UserError, match="21 bytes are not a whole number of hashes"):
        find_trained_on(tmp_path, examples_of([[1]]))
