"""`bert-jax prep report`: figures counted by hand, words, the verdict, and the files written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.command import main
from data_prep.settings import ReportConfig
from data_prep.vocabulary.comparison import compare_vocabularies
from data_prep.vocabulary.measurement import make_sample, measure, trimmed

CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GENERAL = [*CONTROL, "the", "gl", "##p", "-", "1", "and", "pl", "##ace", "##bo", ",", ".", "(", ")", "glp"]
TEXT = "The GLP-1, and (GLP-1) placebo.\nThe qq placebo -- and GLP-1\n"


@pytest.fixture
def files(tmp_path):
    """A text, a general vocabulary, two with more words of the text, and one with hardly any."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "general.txt").write_text("\n".join(GENERAL) + "\n")
    (tmp_path / "domain.txt").write_text("\n".join([*CONTROL, *GENERAL[5:][::-1], "placebo", "qq"]) + "\n")
    (tmp_path / "longer.txt").write_text("\n".join([*GENERAL, "placebo", "qq"]) + "\n")
    (tmp_path / "poor.txt").write_text("\n".join([*CONTROL, "the", "and"]) + "\n")
    return tmp_path


def compare(files, *names, **settings):
    tokenizers = tuple(str(files / name) for name in names)
    return compare_vocabularies(ReportConfig(input=(str(files / "a.txt"),), tokenizer=tokenizers, **settings))


def test_figures_equal_those_counted_by_hand(files):
    report = compare(files, "general.txt")
    (general,) = report.measurements
    # the GLP-1 and GLP-1 placebo | the qq placebo and GLP-1
    assert (report.words, report.distinct_words, report.characters) == (10, 5, len(TEXT.replace("\r", "")))
    # words: the 1 x2, GLP-1 (glp - 1) 3 x3, and 1 x2, placebo 3 x2, qq 1 (unknown)
    assert general.tokens_a_word == pytest.approx((2 + 9 + 2 + 6 + 1) / 10)
    assert general.words_cut == pytest.approx(5 / 10) and general.words_unknown == pytest.approx(1 / 10)
    assert general.tokens == 2 + 9 + 2 + 6 + 1 + len(",().--")
    assert general.tokens_unknown == pytest.approx(1 / general.tokens)
    assert general.tokens_per_1000_characters == pytest.approx(1000 * general.tokens / len(TEXT))
    assert [(w.word, w.count, w.pieces, w.extra_tokens) for w in general.worst] == [
        ("GLP-1", 3, ("glp", "-", "1"), 6),
        ("placebo", 2, ("pl", "##ace", "##bo"), 4),
    ]
    assert [(w.word, w.count) for w in general.unknown] == [("qq", 1)]
    assert general.saved_by_words == pytest.approx(4 / general.tokens)  # placebo; BERT's rules divide GLP-1


def test_other_vocabularies_are_compared_with_the_first(files):
    report = compare(files, "general.txt", "domain.txt")
    general, domain = report.measurements
    assert (general.tokenizer, domain.tokenizer) == ("general.txt", "domain.txt")
    assert domain.tokens == general.tokens - 4
    assert report.saved(domain) == pytest.approx(4 / general.tokens) and report.saved(general) == 0
    assert report.words_in_window(general) == pytest.approx(510 * 10 / general.tokens)
    rows = {row[0]: row[1:] for row in report.rows()}
    assert rows["tokens saved against the first"] == ["+0.0%", f"+{4 / general.tokens:.1%}"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["domain.txt", "poor.txt"], "poor.txt does not know"),
        (["general.txt", "domain.txt"], "The vocabulary domain.txt pays: it saves 15.4%"),
        (
            ["domain.txt", "general.txt"],
            "The vocabulary general.txt does not know 3.8% of its tokens: it is no choice.",
        ),
        (["general.txt", "longer.txt"], "The extension longer.txt pays: it saves 15.4% of the tokens, 3% is enough."),
        (["general.txt"], "general.txt does not know 3.8% of the tokens: it loses text. Extending general.txt pays"),
        (["domain.txt"], "Extending domain.txt does not pay"),
        (["domain.txt", "domain.txt"], "The vocabulary domain.txt does not pay: it saves 0.0%"),
    ],
    ids=" ".join,
)
def test_verdict_follows_its_rule(files, names, says):
    assert says in compare(files, *names).verdict


def test_verdict_on_a_vocabulary_that_takes_more_tokens(files):
    bare = [entry for entry in GENERAL if entry != "placebo"] + ["q", "##q"]
    (files / "bare.txt").write_text("\n".join([*CONTROL, *bare[5:]]) + "\n")
    assert "The vocabulary bare.txt does not pay: it takes " in compare(files, "domain.txt", "bare.txt").verdict


@given(
    words=st.lists(st.text("ab1-é今", min_size=1, max_size=5).filter(lambda w: w[0] != "-" != w[-1]), max_size=9),
    marks=st.lists(st.sampled_from(["", ".", "...", "(", "»", "—", "$"]), min_size=9, max_size=9),
)
def test_words_are_separated_by_blanks_and_stripped_of_marks(words, marks):
    text = "  ".join(mark + word + mark for word, mark in zip(words, marks, strict=False))
    sample = make_sample([text])
    assert sample.word_count == len(words) and set(sample.words) == set(words)


@pytest.mark.parametrize(
    ("spelled", "word"),
    [
        ("(GLP-1),", "GLP-1"),
        ("--", ""),
        ("don't", "don't"),
        ("สวัสดี", "สวัสดี"),
        ("कैसे।", "कैसे"),
        ("+5%", "5"),
        ("_x_", "x"),
    ],
)
def test_only_punctuation_and_symbols_are_stripped(spelled, word):
    assert trimmed(spelled) == word


def test_every_kind_of_vocabulary_is_measured_on_the_same_words(files, corpus, tmp_path):
    names = []
    for kind, size in (("wordpiece", "150"), ("bpe", "333"), ("unigram", "70")):
        names.append(str(tmp_path / kind))
        main(["vocab", "--input", str(corpus), "--output", names[-1], "--kind", kind, "--size", size])
    report = compare_vocabularies(ReportConfig(input=(str(corpus),), tokenizer=tuple(names)))
    for measurement, name in zip(report.measurements, names, strict=True):
        tokenizer = load_tokenizer(tmp_path / name)
        assert measurement.tokens_unknown == 0 and measurement.entries == tokenizer.vocab_size
        assert measurement.tokens_a_word >= 1 and measurement.tokens >= report.words
    assert report.measurements[1].saved_by_words is None


def test_words_are_measured_after_a_blank(corpus, tmp_path):
    """Byte-level pieces differ at the start of a text."""
    main(["vocab", "--input", str(corpus), "--output", str(tmp_path / "v"), "--kind", "bpe", "--size", "350"])
    tokenizer = load_tokenizer(tmp_path / "v")
    sample = make_sample([" ".join(["baing"] * 7)])
    measurement = measure("v", tokenizer, sample, worst=1, added=1)
    assert measurement.tokens_a_word == len(tokenizer.ids([" baing"])[0])


def test_command_writes_page_picture_and_numbers(files, capsys):
    page, numbers = files / "out" / "page.md", files / "out" / "numbers.json"
    command = ["report", "--input", str(files / "a.txt"), "--tokenizer", str(files / "general.txt")]
    command += [str(files / "longer.txt"), "--output", str(page), "--json", str(numbers)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "GLP-1" in out and "glp · - · 1" in out and "longer.txt pays" in out and "The rule:" in out
    text = page.read_text()
    assert "| GLP-1 | 3 | glp · - · 1 | 6 |" in text and "(page.png)" in text and "3% is enough" in text
    assert (files / "out" / "page.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads(numbers.read_text())
    assert table["measurements"][1]["saved_against_the_first"] == pytest.approx(4 / 26)
    assert sorted(path.name for path in (files / "out").iterdir()) == ["numbers.json", "page.md", "page.png"]
    with pytest.raises(UserError, match=r"page.md exists. Choose another --output"):
        main(command)


def test_output_files_of_the_same_name_or_existing_ones_are_refused(files):
    (files / "taken.png").write_text("mine")
    for output, numbers, says in (
        ("p.png", None, "different files"),
        ("p", "p", "different"),
        ("taken.md", None, "taken"),
    ):
        with pytest.raises(UserError, match=says):
            compare(files, "general.txt", output=str(files / output), json=numbers and str(files / numbers))
    assert (files / "taken.png").read_text() == "mine" and not list(files.glob("p*.md"))


def test_names_with_dollar_signs_are_not_read_as_formulas(files):
    (files / "a$b$c.txt").write_text((files / "general.txt").read_text())
    compare(files, "a$b$c.txt", output=str(files / "page.md"))
    assert (files / "page.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "says"), [("", "no text in"), (" \n", "all of it blank"), ("-- ...\n", "nothing but punctuation")]
)
def test_report_of_no_words_is_refused(files, text, says):
    (files / "a.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        compare(files, "general.txt", output=str(files / "page.md"))
    assert not list(files.glob("page*"))


def test_names_are_the_shortest_distinct_ends_of_the_paths(files):
    for name in ("one", "two"):
        (files / name).mkdir()
        (files / name / "vocab.txt").write_text((files / "general.txt").read_text())
    report = compare(files, "one/vocab.txt", "two/vocab.txt")
    assert [measurement.tokenizer for measurement in report.measurements] == ["one/vocab.txt", "two/vocab.txt"]


def test_large_corpus_is_sampled_by_the_seed(tmp_path, files):
    for name in range(40):
        (tmp_path / f"{name}.txt").write_text(f"word{name} and the others\n" * 4000)
    settings = {"input": (str(tmp_path / "[0-9]*.txt"),), "tokenizer": (str(files / "general.txt"),), "sample_mb": 1}
    first, repeated, other = (compare_vocabularies(ReportConfig(**settings, seed=seed)) for seed in (0, 0, 1))
    assert first == repeated != other and first.characters < 2_000_000
