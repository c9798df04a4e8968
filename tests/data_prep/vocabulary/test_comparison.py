"""`bert-jax prep report`: figures counted by hand, words that mean the same for every vocabulary, the verdict."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.command import main
from data_prep.settings import ReportConfig
from data_prep.vocabulary.comparison import report_vocabularies
from data_prep.vocabulary.measurement import make_sample, measure, trimmed

CONTROL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GENERAL = [*CONTROL, "the", "gl", "##p", "-", "1", "and", "pl", "##ace", "##bo", ",", ".", "(", ")", "glp"]
TEXT = "The GLP-1, and (GLP-1) placebo.\nThe qq placebo -- and GLP-1\n"


@pytest.fixture
def files(tmp_path):
    """A text, a general vocabulary, one of the domain that knows more, and one that knows nothing."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "general.txt").write_text("\n".join(GENERAL) + "\n")
    (tmp_path / "domain.txt").write_text("\n".join([*CONTROL, *GENERAL[5:][::-1], "placebo", "qq"]) + "\n")
    (tmp_path / "longer.txt").write_text("\n".join([*GENERAL, "placebo", "qq"]) + "\n")
    (tmp_path / "poor.txt").write_text("\n".join([*CONTROL, "the", "and"]) + "\n")
    return tmp_path


def report(files, *names, **more):
    given = tuple(str(files / name) for name in names)
    return report_vocabularies(ReportConfig(input=(str(files / "a.txt"),), tokenizer=given, **more))


def test_figures_are_those_counted_by_hand(files):
    found = report(files, "general.txt")
    (general,) = found.measurements
    # the GLP-1 and GLP-1 placebo | the qq placebo and GLP-1
    assert (found.words, found.distinct_words, found.characters) == (10, 5, len(TEXT.replace("\r", "")))
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
    assert general.saved_by_words == pytest.approx(4 / general.tokens)  # placebo; GLP-1 is no word of BERT's


def test_another_vocabulary_is_held_against_the_first(files):
    found = report(files, "general.txt", "domain.txt")
    general, domain = found.measurements
    assert (general.tokenizer, domain.tokenizer) == ("general.txt", "domain.txt")
    assert domain.tokens == general.tokens - 4
    assert found.saved(domain) == pytest.approx(4 / general.tokens) and found.saved(general) == 0
    assert found.words_in_window(general) == pytest.approx(510 * 10 / general.tokens)
    rows = {row[0]: row[1:] for row in found.rows()}
    assert rows["window saved against the first"] == ["+0.0%", f"+{4 / general.tokens:.1%}"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["domain.txt", "poor.txt"], "poor.txt does not know"),
        (["general.txt", "domain.txt"], "The vocabulary domain.txt pays: it saves 15.4%"),
        (
            ["domain.txt", "general.txt"],
            "The vocabulary general.txt does not know 3.8% of its tokens: it is no choice.",
        ),
        (["general.txt", "longer.txt"], "The extension longer.txt pays: it saves 15.4% of the tokens, 3% are enough."),
        (["general.txt"], "general.txt does not know 3.8% of the tokens: it loses text. Extending general.txt pays"),
        (["domain.txt"], "Extending domain.txt does not pay"),
        (["domain.txt", "domain.txt"], "The vocabulary domain.txt does not pay: it saves 0.0%"),
    ],
    ids=" ".join,
)
def test_the_verdict_follows_its_rule(files, names, says):
    assert says in report(files, *names).verdict


def test_more_tokens_are_said_to_be_more(files):
    bare = [entry for entry in GENERAL if entry != "placebo"] + ["q", "##q"]
    (files / "bare.txt").write_text("\n".join([*CONTROL, *bare[5:]]) + "\n")
    assert "The vocabulary bare.txt does not pay: it takes " in report(files, "domain.txt", "bare.txt").verdict


@given(
    words=st.lists(st.text("ab1-é今", min_size=1, max_size=5).filter(lambda w: w[0] != "-" != w[-1]), max_size=9),
    marks=st.lists(st.sampled_from(["", ".", "...", "(", "»", "—", "$"]), min_size=9, max_size=9),
)
def test_words_are_what_stands_between_blanks_without_marks_at_the_ends(words, marks):
    text = "  ".join(mark + word + mark for word, mark in zip(words, marks, strict=False))
    found = make_sample([text])
    assert found.word_count == len(words) and set(found.words) == set(words)


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
def test_marks_of_the_script_itself_stay(spelled, word):
    assert trimmed(spelled) == word


def test_words_are_the_same_for_every_kind(files, corpus, tmp_path):
    names = []
    for kind, size in (("wordpiece", "150"), ("bpe", "333"), ("unigram", "70")):
        names.append(str(tmp_path / kind))
        main(["vocab", "--input", str(corpus), "--output", names[-1], "--kind", kind, "--size", size])
    config = ReportConfig(input=(str(corpus),), tokenizer=tuple(names))
    found = report_vocabularies(config)
    sample_words = found.words
    for measurement, name in zip(found.measurements, names, strict=True):
        tokenizer = load_tokenizer(tmp_path / name)
        assert measurement.tokens_unknown == 0 and measurement.entries == tokenizer.vocab_size
        assert measurement.tokens_a_word >= 1 and measurement.tokens >= sample_words
    assert found.measurements[1].saved_by_words is None


def test_a_word_costs_what_it_costs_inside_a_text(corpus, tmp_path):
    """Byte-level pieces differ at the start of a text: the word is measured behind a blank."""
    main(["vocab", "--input", str(corpus), "--output", str(tmp_path / "v"), "--kind", "bpe", "--size", "350"])
    tokenizer = load_tokenizer(tmp_path / "v")
    sample = make_sample([" ".join(["baing"] * 7)])
    found = measure("v", tokenizer, sample, worst=1, added=1)
    assert found.tokens_a_word == len(tokenizer.ids([" baing"])[0])


def test_the_command_writes_page_picture_and_numbers(files, capsys):
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


def test_files_that_would_take_each_others_place_are_refused(files):
    (files / "taken.png").write_text("mine")
    for output, numbers, says in (
        ("p.png", None, "different files"),
        ("p", "p", "different"),
        ("taken.md", None, "taken"),
    ):
        with pytest.raises(UserError, match=says):
            report(files, "general.txt", output=str(files / output), json=numbers and str(files / numbers))
    assert (files / "taken.png").read_text() == "mine" and not list(files.glob("p*.md"))


def test_names_that_matplotlib_would_read_as_a_formula_are_shown(files):
    (files / "a$b$c.txt").write_text((files / "general.txt").read_text())
    report(files, "a$b$c.txt", output=str(files / "page.md"))
    assert (files / "page.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "says"), [("", "no text in"), (" \n", "all of it blank"), ("-- ...\n", "nothing but punctuation")]
)
def test_a_report_of_nothing_is_refused(files, text, says):
    (files / "a.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        report(files, "general.txt", output=str(files / "page.md"))
    assert not list(files.glob("page*"))


def test_names_are_as_long_as_it_takes_to_tell_them_apart(files):
    for name in ("one", "two"):
        (files / name).mkdir()
        (files / name / "vocab.txt").write_text((files / "general.txt").read_text())
    found = report(files, "one/vocab.txt", "two/vocab.txt")
    assert [measurement.tokenizer for measurement in found.measurements] == ["one/vocab.txt", "two/vocab.txt"]


def test_a_large_corpus_is_sampled_by_its_seed(tmp_path, files):
    for name in range(40):
        (tmp_path / f"{name}.txt").write_text(f"word{name} and the others\n" * 4000)
    made = {"input": (str(tmp_path / "[0-9]*.txt"),), "tokenizer": (str(files / "general.txt"),), "sample_mb": 1}
    one, again, other = (report_vocabularies(ReportConfig(**made, seed=seed)) for seed in (0, 0, 1))
    assert one == again != other and one.characters < 2_000_000
