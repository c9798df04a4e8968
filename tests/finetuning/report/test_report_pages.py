"""Documents render to Markdown and HTML, and texts of the data cannot become markup."""

import html as standard
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.finetuning.drift import LayerDrift
from bert_jax.finetuning.report.document import (
    Cases,
    Cell,
    Code,
    Document,
    Figure,
    Headline,
    Notes,
    Paragraph,
    Section,
    Table,
    number,
    share,
)
from bert_jax.finetuning.report.figures import draw_calibration, draw_curves, draw_drift, draw_numbers
from bert_jax.finetuning.report.html import marked, to_html
from bert_jax.finetuning.report.markdown import escape_markdown, to_markdown
from bert_jax.finetuning.report.sections import largest_classes, spelled_interval, spelled_score
from bert_jax.finetuning.reviews.review import Case, Mark, TextPart
from bert_jax.finetuning.statistics import Bin

HOSTILE = [
    "<script>alert('x')</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg><b>&amp;",
    "\u202eright to left\u202c \u0645\u0631\u062d\u0628\u0627",
    "\U0001f600 \U0001f469\u200d\U0001f467",
    "# one\n\n- two\n1. three\n    four\n```\nfive | six",
    "nul \x00 escape_markdown \x1b[31m half \ud800",
    "[link](javascript:alert(1)) ![x](y) $x$ *a* _b_ ~~c~~",
    "   ",
]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes, self.text = [], set(), set(), []

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attributes)
        if tag not in ("meta", "path", "use", "rect", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("meta", "path", "use", "rect", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def document_of(text: str) -> Document:
    part = TextPart(text, text, (Mark(0, max(1, len(text) // 2), "given"), Mark(len(text) // 3, len(text), "expected")))
    blocks = [
        Headline(
            name=text, value=text, interval=text, remark=text, share=1.5, low=-1.0, high=2.0, baselines=(0.5, 0.25)
        ),
        Paragraph(text),
        Notes([text]),
        Table([text, text], [[text, Cell(text, 0.5, strong=True)]], 1, text),
        Figure("<svg></svg>", text, Table([text], [[text]])),
        Code(text, text),
        Cases([Case(text, (part,), text, text, 0.5)]),
    ]
    return Document(text, text, [Section(text, blocks)])


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    page, plain = Tags(), Tags()
    page.feed(to_html(document_of(text)))
    plain.feed(to_html(document_of("harmless")))
    assert page.open == plain.open == []
    assert page.seen <= plain.seen | {"em"} and page.attributes == plain.attributes
    assert not {"script", "img", "iframe", "link"} & page.seen
    if text.strip():
        clean = text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ud800", "?")
        assert clean in "".join(page.text)


@given(st.text(max_size=60))
def test_any_text_makes_a_well_formed_page_in_utf_8(text):
    page = Tags()
    page.feed(to_html(document_of(text)).encode().decode())
    assert page.open == []
    to_markdown(document_of(text)).encode()


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 45), st.integers(0, 45)), max_size=4))
def test_marks_do_not_change_the_text(text, places):
    kinds = ("expected", "given")
    part = TextPart("text", text, tuple(Mark(a, b, kinds[i % 2]) for i, (a, b) in enumerate(places)))
    unmarked = standard.unescape(re.sub(r"</?mark[^>]*>", "", marked(part)))
    assert unmarked == standard.unescape(marked(TextPart("text", text)))


def test_overlapping_marks_are_cut_where_they_meet():
    part = TextPart("text", "a<bcdef", (Mark(0, 4, "expected"), Mark(2, 6, "given")))
    assert marked(part) == (
        '<mark class="expected">a&lt;</mark><mark class="expected given">bc</mark><mark class="given">de</mark>f'
    )


def test_markdown_escapes_only_special_characters():
    assert escape_markdown("a*b_c|d<e") == r"a\*b\_c\|d\<e"
    assert (
        escape_markdown("1. one\n12) two\n- three\n# four\n81.3 %")
        == "1\\. one\n12\\) two\n\\- three\n\\# four\n81.3 %"
    )
    assert escape_markdown("    code") == "\u00a0" * 4 + "code"
    assert "````\n```\n````" in to_markdown(Document("t", "", [Section("s", [Code("```")])]))
    table = to_markdown(Document("t", "", [Section("s", [Table(["a", "b"], [["x|y\nz", Cell("1", strong=True)]], 1)])]))
    assert "| a | b |\n| --- | ---: |\n| x\\|y z | **1** |" in table


def test_links_are_quoted_paths():
    def pages_of(link):
        document = Document("t", "", [Section("s", [Table(["run"], [[Cell("seed 1", link=link)]])])])
        return to_html(document), to_markdown(document)

    page, text = pages_of("seed 1/report.html")
    assert '<a href="seed%201/report.html">seed 1</a>' in page and "[seed 1](seed%201/report.html)" in text
    page, text = pages_of('javascript:alert(1)"')
    assert "javascript%3Aalert" in page and "javascript%3Aalert" in text and 'alert(1)"' not in page


def test_missing_numbers_are_a_dash():
    assert [number(value) for value in (None, float("nan"), float("inf"), -0.0001)] == ["\u2013"] * 3 + ["0.000"]
    assert (share(0.12345), share(None)) == ("12.3 %", "\u2013")
    assert (spelled_score("accuracy", 0.5), spelled_score("pearson", -0.25), spelled_score("f1", 50.0, 100.0)) == (
        "50.0 %",
        "-0.250",
        "50.0 %",
    )
    assert spelled_interval("mismatched_accuracy", (0.25, 0.5)) == "25.0 to 50.0 %"


@given(st.integers(1, 40), st.integers(0, 99))
def test_largest_classes_keep_every_row(classes, seed):
    counts = np.random.default_rng(seed).integers(0, 9, (classes, classes))
    names, table = largest_classes([str(i) for i in range(classes)], counts)
    assert table.sum() == counts.sum() and table.shape == (len(names), len(names)) and len(names) <= 21
    kept = [int(name) for name in names if name != "(others)"]
    assert np.array_equal(table[: len(kept), : len(kept)], counts[np.ix_(kept, kept)])
    rest = set(range(classes)) - set(kept)
    assert max((counts[i].sum() for i in rest), default=0) <= min(counts[i].sum() for i in kept)


METRICS = [(step, "train", {"loss": 1 / step}) for step in range(1, 9)] + [(4, "dev", {"f1": 0.5})]
PICTURES = {
    "curves": lambda: draw_curves(METRICS, "f1", 4, "a $ <b> & \u6f22"),
    "no curves": lambda: draw_curves([], "f1", None, "f1"),
    "calibration": lambda: draw_calibration([Bin(0.4, 0.5, 3, 0.45, 0.6), Bin(0.9, 1.0, 9, 0.95, 1.0)]),
    "drift": lambda: draw_drift([LayerDrift("embeddings", 0.0, 1.0, 0.0), LayerDrift("block 1", 0.1, 0.9, 0.01)]),
    "no drift": lambda: draw_drift([LayerDrift("embeddings", 0.0, 1.0, 0.0)]),
    "numbers": lambda: draw_numbers(np.arange(5.0), np.arange(5.0) ** 2),
    "one number": lambda: draw_numbers(np.ones(1), np.ones(1)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_figures_are_reproducible_and_self_contained(name, recwarn):
    svg = PICTURES[name]()
    assert svg == PICTURES[name]()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
    ElementTree.fromstring(svg)
    assert not re.search(r"nan|inf\b|#1f5fa8|#2b2f36|<script|<style|20\d\d-\d\d", svg)
    outside = re.findall(r'(?:href|url)\s*[=(]\s*"?([^")]+)', svg)
    assert all(place.startswith(("#", "data:image/png")) for place in outside)
    assert set(re.findall(r"(?:#|url\(#)([\w-]+)", svg)) <= set(re.findall(r'id="([^"]+)"', svg)) | set(
        re.findall(r"#([0-9a-f]{6})\b", svg)
    )


def test_metrics_have_their_most_specific_name():
    from bert_jax.finetuning.report.sections import name_of

    assert name_of("micro_f1") == "F1 over all labels" and name_of("mismatched_f1") == "mismatched F1"


def test_the_average_of_a_sweep_uses_only_the_chosen_setting(tmp_path):
    from bert_jax.finetuning.glue_suite import _runs_of_chosen_setting
    from bert_jax.train.run import RUNS, RunFolder

    settings = [{"tried": {"epochs": i}, "runs": [f"epochs-{i}-seed-{j}" for j in range(2)]} for i in range(3)]
    (tmp_path / RUNS).write_text(json.dumps({"settings": settings, "chosen": {"epochs": 1}}))
    runs = [RunFolder(tmp_path / name) for setting in settings for name in setting["runs"]]
    assert [run.path.name for run in _runs_of_chosen_setting(tmp_path, runs)] == settings[1]["runs"]


def test_training_examples_are_counted_by_text_not_by_window():
    from bert_jax.data.encoded import Encoded
    from bert_jax.finetuning.report.run_report import _training_counts
    from bert_jax.finetuning.task_data import Examples, TaskData

    owner = np.array([0, 0, 0, 1, 2, 2])
    ones = np.ones(6, np.int32)
    rows = Encoded(
        tokens=ones,
        offsets=np.arange(7),
        segment_b=ones,
        labels=np.array([1, 1, 1, 0, 1, 1], np.int32),
        pad=0,
        max_length=9,
        dropped=0,
        truncated=0,
    )
    examples = Examples(rows, 3, dict, dict, owner)  # type: ignore[arg-type]
    data = TaskData("sequence", ("a", "b"), "single_label", examples, examples, {}, [])
    assert _training_counts(data) == {"a": 1, "b": 2}
