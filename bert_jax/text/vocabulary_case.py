"""Guess from its entries whether a vocabulary is cased, for folders whose files do not say."""

from collections.abc import Iterable

from bert_jax.terminal import note

# Share of the entries with letters that have capitals; BERT's cased vocabularies have a fifth to a half.
MIN_CAPITALIZED_SHARE = 0.02


def guess_lowercase(vocab: Iterable[str], source: str) -> bool:
    """Return whether texts are lower-cased for this vocabulary, and print a note about the guess.

    Up to MIN_CAPITALIZED_SHARE of capitalized entries count as none: published uncased vocabularies hold some. Names in
    brackets, such as [CLS] and <S>, do not count.
    """
    words = [entry for entry in vocab if not _in_brackets(entry) and entry.upper() != entry.lower()]
    capitalized = sum(entry.lower() != entry for entry in words)
    lowercase = capitalized <= MIN_CAPITALIZED_SHARE * len(words)
    note(
        f"{source}: taken as {'uncased' if lowercase else 'cased'}: {capitalized:,} of its {len(words):,} entries with "
        "letters have capitals, and no file says. To decide, set do_lower_case in a tokenizer_config.json beside it or "
        "give --lowercase or --no-lowercase to prep, pretrain, finetune or convert"
    )
    return lowercase


def _in_brackets(entry: str) -> bool:
    return (entry[:1], entry[-1:]) in (("[", "]"), ("<", ">"))
