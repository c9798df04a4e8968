"""Whether a vocabulary is cased, told from the vocabulary as a whole where no file says."""

from collections.abc import Iterable

from bert_jax.terminal import note

FEWEST_CAPITALS = 0.02  # share of the entries with letters; cased vocabularies of BERT's have a fifth to a half


def guess_lowercase(vocab: Iterable[str], source: str) -> bool:
    """Return whether texts are to be lower-cased for this vocabulary, and say so in a note.

    A stray capital decides nothing: published uncased vocabularies hold some. Names in brackets, such as [CLS] and <S>,
    do not count.
    """
    letters = [entry for entry in vocab if not _in_brackets(entry) and entry.upper() != entry.lower()]
    capitals = sum(entry.lower() != entry for entry in letters)
    lowercase = capitals <= FEWEST_CAPITALS * len(letters)
    note(
        f"{source}: taken as {'uncased' if lowercase else 'cased'}: {capitals:,} of its {len(letters):,} entries with "
        "letters have capitals, and no file says. do_lower_case in a tokenizer_config.json beside it decides, or "
        "--lowercase and --no-lowercase of prep, pretrain, finetune and convert"
    )
    return lowercase


def _in_brackets(entry: str) -> bool:
    return (entry[:1], entry[-1:]) in (("[", "]"), ("<", ">"))
