import re

import pytest

from bert_jax.data.labelled.rows import Columns
from bert_jax.data.labelled.scored_pairs import read_scored_pairs
from bert_jax.errors import UserError

HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
OFFICIAL = (
    f'{HEADER}\tscore\n0\tg\tf\t2012\t1\ta\tb\tA "man" runs.\tA man.\t5.000\n1\tg\tf\t2012\t2\ta\tb\tOne\tTwo\t0\n'
)


def test_a_folder_and_a_file_of_stsb_have_no_quoting(tmp_path):
    (tmp_path / "STS-B").mkdir()
    for path in (tmp_path / "STS-B" / "dev.tsv", tmp_path / "renamed.tsv"):
        path.write_text(OFFICIAL)
    for data in (tmp_path, tmp_path / "STS-B", tmp_path / "STS-B" / "dev.tsv", tmp_path / "renamed.tsv"):
        rows = read_scored_pairs(data)
        assert (rows.texts, rows.pairs, rows.labels) == (['A "man" runs.', "One"], ["A man.", "Two"], [5.0, 0.0])


def test_rows_have_the_columns_of_stsb_or_others(tmp_path):
    (tmp_path / "a.csv").write_text('sentence1,sentence2,score\n"a, b",c,-3\nd,e,700\n')
    assert read_scored_pairs(tmp_path / "a.csv").labels == [-3.0, 700.0]
    (tmp_path / "b.jsonl").write_text('{"q": "a", "p": "b", "s": 0.5}\n{"q": "c", "p": "d", "s": 1}\n')
    assert read_scored_pairs(tmp_path / "b.jsonl", Columns("q", "p", "s")).pairs == ["b", "d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OFFICIAL.replace("5.000", "5.1"), "line 2 (row 1): score 5.1 is outside 0 to 5. Correct it, or pass"),
        (OFFICIAL.replace("\tTwo", "\t "), "line 3 (row 2): the text ('sentence2') is empty. Fill it in, or delete"),
        (OFFICIAL.replace("\t0\n", "\tnan\n"), "line 3 (row 2): label 'nan' is not a number"),
        (f"{OFFICIAL.splitlines()[0]}\n{OFFICIAL.splitlines()[1]}\n", "one pair; a correlation needs two or more"),
        (OFFICIAL.replace("\t0\n", "\n"), "line 3: 9 fields, 10 are expected. Is it STS-B?"),
    ],
)
def test_a_bad_row_is_named(tmp_path, text, message):
    (tmp_path / "dev.tsv").write_text(text)
    with pytest.raises(UserError, match=f"dev.tsv:? {re.escape(message)}"):
        read_scored_pairs(tmp_path / "dev.tsv")


def test_a_range_is_that_of_the_caller(tmp_path):
    (tmp_path / "dev.tsv").write_text(OFFICIAL)
    with pytest.raises(UserError, match=r"score 5 is outside 0 to 1\. "):
        read_scored_pairs(tmp_path / "dev.tsv", score_range=(0.0, 1.0))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none: no such file or folder"):
        read_scored_pairs(tmp_path / "none")


def test_a_test_file_has_no_scores(tmp_path):
    (tmp_path / "test.tsv").write_text(f"{HEADER}\n0\tg\tf\t2012\t1\ta\tb\tA\tB\n")
    with pytest.raises(UserError, match=r"has no scores\. Give dev.tsv or train.tsv"):
        read_scored_pairs(tmp_path / "test.tsv")
