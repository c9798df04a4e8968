"""A model that is always right predicts the gold answers, in any script and with any vocabulary and length."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from gold import gold_answers, write_squad

from bert_jax.text.training.byte_level import train_byte_level
from bert_jax.text.training.unigram import train_unigram
from bert_jax.text.training.vocabulary_request import VocabularyRequest
from bert_jax.text.training.wordpiece_training import train_wordpiece

TRAINERS = {"wordpiece": train_wordpiece, "bpe": train_byte_level, "unigram": train_unigram}
DECOMPOSED = unicodedata.normalize
MARKED = [
    (DECOMPOSED("NFD", "Sung by Renée, then by Zoé."), DECOMPOSED("NFD", "Renée")),
    (DECOMPOSED("NFD", "Er kam aus Växjö im Mai."), DECOMPOSED("NFD", "Växjö")),
    (DECOMPOSED("NFD", "Cô ấy sống ở Huế năm ngoái"), DECOMPOSED("NFD", "ở Huế")),
    ("लेखक प्रेमचंद हिन्दू कॉलेज के थे।", "हिन्दू"),
    ("उनका घर पटना में है", "में"),
    ("เขาเกิดที่เมือง สุโขทัยปี และ อยู่ที่นั่น", "สุโขทัยปี"),
    ("הוא בא אל שָׁלוֹםְ בערב", "שָׁלוֹםְ"),
    ("سافرَ إلى دمشقَ أمسِ", "دمشقَ"),
    ("She sent ❤️ and then 👍🏽.", "❤️"),
    (
        "Fans waved \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f all day",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ),
    ("Press 2️⃣ to go on.", "2️⃣"),
    ("അത് അവന്‍ പറഞ്ഞു", "അവന്‍"),  # a chillu as older texts spell it: the last character is a joiner
    ("Cost:\u200b42\u200b EUR", "42"),
    ("The O\u00adHara family\u00ad came", "O\u00adHara family"),
    ("We ordered caf\ufffd with milk", "caf\ufffd"),  # a character that was broken before: no token shows it
    ("An \uff2b\uff59\uff4f\uff54\uff4f oﬃce at ½ price", "\uff2b\uff59\uff4f\uff54\uff4f oﬃce"),
    ("그녀는 부산에 산다", "부산"),
    (DECOMPOSED("NFD", "그녀는 부산에 산다"), DECOMPOSED("NFD", "부산")),
    ("Önce İzmir’e, sonra Iğdır’a gitti", "İzmir"),
    ("东京和大阪都很大。", "大阪"),
]
GERMAN = (
    "Die Rechtsschutzversicherungsgesellschaft übernimmt die Kosten, wenn der Versicherungsnehmer spätestens vierzehn "
    "Tage nach dem Schadensereignis eine vollständige Unfallmeldung mit sämtlichen Zeugenaussagen und Lichtbildern bei "
    "der zuständigen Geschäftsstelle einreicht, sofern nicht höhere Gewalt oder Vorsatz vorliegt."
)
SPANISH = (
    "¿Qué ocurrió después? El ayuntamiento acordó construir un nuevo puente de piedra sobre el río Guadalquivir, con "
    "cinco arcos de doce metros, para que los campesinos de la otra orilla pudieran llevar sus mercancías al mercado "
    "de la ciudad sin depender de las barcas, que a menudo se hundían en invierno; así se hizo."
)
LONG = [
    (GERMAN, GERMAN[GERMAN.index("wenn") : GERMAN.index(", sofern")]),  # 26 words, 214 characters
    (SPANISH, SPANISH[SPANISH.index("construir") : SPANISH.index(", que a")]),  # 35 words, 205 characters
    (f"{SPANISH} {SPANISH}", "así se hizo"),
]


@pytest.fixture(scope="module", params=[(kind, low) for kind in TRAINERS for low in (False, True)], ids=str)
def tokenizer(request):
    """Vocabularies that hold little more than single characters."""
    kind, lowercase = request.param
    size = {"wordpiece": 190 if lowercase else 260, "bpe": 270, "unigram": 200}[kind]
    texts = [context for context, _ in (*MARKED, *LONG)]
    return TRAINERS[kind](texts, VocabularyRequest(size, lowercase), Counter())


def test_answers_keep_final_accents(tokenizer, tmp_path):
    scores, answers = gold_answers(write_squad(tmp_path / "dev.json", *MARKED), tokenizer)
    assert answers == {str(i): answer for i, (_, answer) in enumerate(MARKED)}
    assert scores["exact_match"] == scores["f1"] == 100.0


def test_long_answers_are_predicted(tokenizer, tmp_path):
    path = write_squad(tmp_path / "dev.json", *LONG)
    assert min(np.diff(tokenizer.ids_flat([answer for _, answer in LONG[:2]])[1])) > 60
    for length in (384, 512):
        scores, answers = gold_answers(path, tokenizer, length)
        assert answers == {str(i): answer for i, (_, answer) in enumerate(LONG)} and scores["exact_match"] == 100.0
