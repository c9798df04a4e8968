"""Detection of the scheme of a file's tags; entities score as conlleval scores them."""

import itertools
import random
import re

import pytest

from bert_jax.data.labelled.conll import read_sentences
from bert_jax.data.labelled.entities import Span
from bert_jax.data.labelled.tag_schemes import BARE, NAMELESS, PREFIXED, scheme_of_file, scheme_of_labels, spans_of_tags
from bert_jax.errors import UserError
from bert_jax.tasks.scores import entity_scores


def scheme_of(tags):
    return scheme_of_file({tag: f"a.conll line {i}" for i, tag in enumerate(tags.split(), 1)})


def conlleval(gold: list[list[str]], predicted: list[list[str]]) -> tuple[float, float, float]:
    """Return precision, recall and F1 as counted by the Perl script of CoNLL-2000 (version of 2004).

    One pass over the flat tags, with the script's tables of pairs of B, I and O that end and begin a chunk. A tag is
    split at its first dash; its type is empty if it has none.
    """
    ends = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
    begins = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}

    def split(tag):
        letter, _, kind = tag.partition("-")
        return letter, kind

    right = returned = expected = 0
    agreeing = False
    before = [("O", ""), ("O", "")]
    flat = [itertools.chain.from_iterable([*tags, "O"] for tags in side) for side in (gold, predicted)]
    for pair in zip(*flat, strict=True):
        now = [split(tag) for tag in pair]
        over, new = [], []
        for (old, old_kind), (letter, kind) in zip(before, now, strict=True):
            over.append((old, letter) in ends or (old != "O" and old_kind != kind))
            new.append((old, letter) in begins or (letter != "O" and old_kind != kind))
        if agreeing:
            if over[0] and over[1] and before[0][1] == before[1][1]:
                agreeing, right = False, right + 1
            elif over[0] != over[1] or now[0][1] != now[1][1]:
                agreeing = False
        if new[0] and new[1] and now[0][1] == now[1][1]:
            agreeing = True
        expected, returned, before = expected + new[0], returned + new[1], now
    precision, recall = right / max(returned, 1), right / max(expected, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


@pytest.mark.parametrize("alphabet", ["B I O", "B-x I-x B-y I-y O", "I-x B-x I-y O O"])
def test_scores_of_files_equal_those_of_conlleval(tmp_path, alphabet):
    """Over 300 files of one or more sentences with random tags, valid or not."""
    rng = random.Random(alphabet)
    for _ in range(300):
        lengths = [rng.randint(1, 12) for _ in range(rng.randint(1, 8))]
        sides = [[rng.choices(alphabet.split(), k=length) for length in lengths] for _ in range(2)]
        sides[0][0][0] = sides[1][0][0] = alphabet.split()[0]
        entities = []
        for name, side in zip(("gold", "predicted"), sides, strict=True):
            path = tmp_path / f"{name}.conll"
            path.write_text("\n".join("".join(f"{tag}\t{tag}\n" for tag in tags) for tags in side))
            entities.append([sentence.entities for sentence in read_sentences(path).items])
        scores = entity_scores(*entities)
        assert (scores["precision"], scores["recall"], scores["f1"]) == pytest.approx(conlleval(*sides))


def tags_of_spans(spans: list[tuple[int, int, str]], length: int, letters: str, form: str) -> list[str]:
    """Return the tags of spans.

    letters  for the first word, inner words, the last word and single words
    form     of a tag, with {0} for the letter and {1} for the type
    """
    begin, inside, end, whole = letters
    tags = ["O"] * length
    for first, last, kind in spans:
        places = whole if last - first == 1 else begin + inside * (last - first - 2) + end
        tags[first:last] = [form.format(place, kind) for place in places]
    return tags


@pytest.mark.parametrize(
    ("letters", "form"),
    [
        *itertools.product(["BIIB", "BIES", "BMES", "BMEW", "BILU"], ["{0}-{1}", "{0}_{1}", "{1}-{0}", "{0}:{1}"]),
        *itertools.product(["biib", "bies", "bmew", "bilu"], ["{0}-{1}", "{1}_{0}"]),
        *itertools.product(["BIIB", "BMES"], ["{0}{1}", "{1}{0}"]),
        *itertools.product(["BIIB", "BIES", "BMEW", "BILU", "biib", "bies"], ["{0}"]),
        ("IIEE", "{0}-{1}"),
    ],
)
def test_every_scheme_gives_the_same_entities(tmp_path, letters, form):
    """The tags are made from spans by `tags_of_spans`; some neighbours have the same type."""
    rng = random.Random(letters + form)
    sentences = [[(0, 4, "PER"), (4, 5, "PER"), (6, 8, "LOC")]]
    for _ in range(20):
        places = sorted(rng.sample(range(15), 2 * rng.randint(0, 4)))
        sentences.append([(a, b, rng.choice(["PER", "LOC"])) for a, b in zip(places[::2], places[1::2], strict=True)])
    lines = ["".join(f"w {tag}\n" for tag in tags_of_spans(spans, 15, letters, form)) for spans in sentences]
    (tmp_path / "a.conll").write_text("\n".join(lines))
    sentences_read = read_sentences(tmp_path / "a.conll")
    nameless = "{1}" not in form
    expected = [[Span(NAMELESS if nameless else kind, a, b) for a, b, kind in spans] for spans in sentences]
    assert [sentence.entities for sentence in sentences_read.items] == expected
    usual = form in ("{0}-{1}", "{0}_{1}") and letters.isupper()
    notes = sentences_read.notes
    assert len(notes) == (not usual) and all("a.conll: its tags (" in note for note in notes)


@pytest.mark.parametrize(
    ("tags", "culprit"),
    [
        ("B-PER o", "o"),
        ("B-PER 0", "0"),
        ("B-PER B-", "B-"),
        ("B-PER b-LOC", "b-LOC"),
        ("B-PER X-PER", "X-PER"),
        ("B-PER I-PER LOC", "LOC"),
        ("B-PER B", "B"),
        ("PER-B PER-I LOC", "LOC"),
        ("BPER IPER LOC", "LOC"),
        ("BPER IPER SONG", "SONG"),
        ("B I X", "X"),
        ("B-a BH-a DB-a", "BH-a"),  # discontinuous ones
        ("B_PER MM_O BB_O_PER", "MM_O"),  # LingPipe's
        ("(PER* * *)", "(PER*"),
        ("B-PER B-PER|I-LOC", "B-PER|I-LOC"),
        ("Begin-PER Inside-PER", "Inside-PER"),
        ("PER_begin PER_in", "PER_in"),
        ("begin inside", "inside"),
        ("e-mail", "e-mail"),
        ("M-PER", "M-PER"),
        ("T-cell", "T-cell"),
        ("B-B B-I", "B-B"),  # the type B in suffix form, or two types
        ("S-B S-I", "S-B"),
    ],
)
def test_tag_that_follows_no_scheme_is_refused_with_its_line(tags, culprit):
    line = tags.split().index(culprit) + 1
    with pytest.raises(UserError, match=rf"^a\.conll line {line}: '{re.escape(culprit)}' is no tag: [^\n]+$"):
        scheme_of(tags)


@pytest.mark.parametrize(
    "tags",
    [
        "PER LOC",
        "work-of-art PER",
        "N V S",
        "CLUB CLUE",
        "BAND LAND",
        "E.coli S.aureus",
        "start_date end_date",
        "grade-A grade-B",
    ],
)
def test_tags_without_a_place_are_types(tags):
    assert scheme_of(tags) is BARE


def test_types_may_be_called_like_letters():
    assert scheme_of("B-B I-B B-I I-I") == PREFIXED
    assert scheme_of_labels(["O", "B-B", "I-B", "B-S", "I-S", "B-E", "I-E"]) == PREFIXED


@pytest.mark.parametrize(
    ("labels", "tags"),
    [
        ("O B I [PAD]", [("O", None), ("B", NAMELESS), ("I", NAMELESS), ("I", "[PAD]")]),
        ("O PER-B PER-I", [("O", None), ("B", "PER"), ("I", "PER")]),
        ("O B-a I-a X", [("O", None), ("B", "a"), ("I", "a"), ("I", "X")]),
        ("o b-a l-a u-a", [("O", None), ("B", "a"), ("E", "a"), ("S", "a")]),
        ("LABEL_0 LABEL_1", [("I", "LABEL_0"), ("I", "LABEL_1")]),
    ],
)
def test_labels_of_foreign_models_are_read(labels, tags):
    scheme = scheme_of_labels(labels.split())
    assert [scheme.split(label) for label in labels.split()] == tags


def test_last_column_of_words_is_refused(tmp_path):
    (tmp_path / "a.conll").write_text("the the\nhouse house\nin on\n")
    with pytest.raises(UserError, match="line 1: 'the' is no tag, nor are most others: the last column repeats"):
        read_sentences(tmp_path / "a.conll")


def test_entity_ends_at_a_letter_for_the_end():
    tags = [PREFIXED.split(tag) for tag in ["E-x", "I-x", "W-x", "M-x", "L-x", "O", "L-x"]]
    assert spans_of_tags(tags) == [Span("x", *ends) for ends in ((0, 1), (1, 2), (2, 3), (3, 5), (6, 7))]
