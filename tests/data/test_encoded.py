"""`pick_rows` keeps tokens, labels and weights together."""

import numpy as np
import pytest

from bert_jax.data.encoded import Encoded, pick_rows

LENGTHS = [3, 5, 2, 4]
TOKENS = np.arange(14, dtype=np.int32)


def make_encoded(labels: list[int], **more) -> Encoded:
    offsets = np.append(0, np.cumsum(LENGTHS))
    segment_b = np.array(LENGTHS, np.int32) - 1
    return Encoded(
        tokens=TOKENS,
        offsets=offsets,
        segment_b=segment_b,
        labels=np.array(labels, np.int32),
        pad=0,
        max_length=16,
        dropped=0,
        truncated=0,
        **more,
    )


@pytest.mark.parametrize("rows", [[1, 3], [0], [3, 1, 0, 2]])
def test_picked_rows_keep_tokens_labels_and_weights(rows):
    encoded = make_encoded([7, 8, 9, 6], weights=np.array([1, 0.5, 0.25, 2], np.float32), token_labels=-TOKENS)
    picked = pick_rows(encoded, np.array(rows), np.array(rows))
    tokens = [TOKENS[encoded.offsets[i] : encoded.offsets[i + 1]] for i in rows]
    assert picked.lengths.tolist() == [LENGTHS[i] for i in rows]
    assert np.array_equal(picked.tokens, np.concatenate(tokens))
    assert np.array_equal(picked.token_labels, -picked.tokens)
    assert picked.labels.tolist() == [[7, 8, 9, 6][i] for i in rows]
    assert picked.weights.tolist() == [[1, 0.5, 0.25, 2][i] for i in rows]
    assert picked.segment_b.tolist() == [LENGTHS[i] - 1 for i in rows]


def test_picked_rows_of_a_group_keep_their_label():
    picked = pick_rows(make_encoded([7, 8], group=2), np.array([2, 3]), np.array([1]))
    assert picked.lengths.tolist() == [2, 4] and picked.labels.tolist() == [8]
