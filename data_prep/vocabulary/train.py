"""Train a vocabulary on a bounded sample of a corpus, or add words of the corpus to an existing vocabulary."""

from collections.abc import Callable, Iterable
from pathlib import Path

from bert_jax.errors import UserError
from bert_jax.output import check_new_folder, whole_folder
from bert_jax.progress import Progress
from bert_jax.text import load_tokenizer
from bert_jax.text.folder_files import TOKENIZER
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.training.byte_level import train_byte_level
from bert_jax.text.training.extension import extend_wordpiece
from bert_jax.text.training.unigram import train_unigram
from bert_jax.text.training.vocabulary_request import VocabularyRequest
from bert_jax.text.training.wordpiece_training import train_wordpiece
from bert_jax.text.wordpiece import WordPieceTokenizer
from bert_jax.wording import counted
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.sources import find_sources
from data_prep.job.job_progress import show_reading
from data_prep.job.stopping import interrupts_raise_stopped
from data_prep.settings import VocabConfig
from data_prep.vocabulary.sample import describe_counts, sample_texts

Trainer = Callable[[Iterable[str], VocabularyRequest, NotedCounter], Tokenizer]
TRAINERS: dict[str, Trainer] = {
    "wordpiece": train_wordpiece,
    "bpe": train_byte_level,
    "unigram": train_unigram,
}


def train_vocab(config: VocabConfig, *, say: Callable[[str], None] = lambda line: None) -> Tokenizer:
    """Write a tokenizer folder to `config.output` and return the tokenizer.

    The same files and settings give the same vocabulary. A corpus larger than `sample_mb` is sampled. SIGTERM and
    Ctrl-C raise Stopped and leave no folder.
    """
    with interrupts_raise_stopped(lambda name: f"{config.output}: stopped by {name}. The same command starts again"):
        return _train_vocab(config, say)


def _train_vocab(config: VocabConfig, say: Callable[[str], None]) -> Tokenizer:
    output = Path(config.output)
    check_new_folder(output)
    sources, counts = find_sources(config.input, CorpusOptions.from_config(config))
    with Progress("vocabulary") as line:
        texts = show_reading(sample_texts(sources, config, counts), sources, config.sample_mb, line, "learning")
        tokenizer = _train_new(config, texts, counts, say) if config.extend is None else _extend(config, texts, say)
    with whole_folder(output, last=(TOKENIZER,)) as folder:
        tokenizer.save(folder)
    say(
        f"{output}: {tokenizer.vocab_size:,} entries from {counts['characters'] / 1e6:,.1f} million characters "
        f"in {counted(len(sources), 'file')}"
    )
    if remarks := describe_counts(counts):
        say("\n".join(remarks))
    return tokenizer


def _train_new(
    config: VocabConfig, texts: Iterable[str], counts: NotedCounter, say: Callable[[str], None]
) -> Tokenizer:
    lowercase = config.lowercases
    request = VocabularyRequest(
        size=config.entries,
        lowercase=lowercase,
        strip_accents=None if config.accents is None else config.accents == "strip",
        special_tokens=config.special_tokens,
        user_tokens=config.user_tokens,
    )
    tokenizer = TRAINERS[config.kind or "wordpiece"](texts, request, counts)
    if tokenizer.vocab_size < request.size:
        say(f"the text holds no more than {tokenizer.vocab_size} entries; {request.size} were asked for")
    return tokenizer


def _extend(config: VocabConfig, texts: Iterable[str], say: Callable[[str], None]) -> Tokenizer:
    old = load_tokenizer(Path(config.extend or ""), lowercase=config.lowercase)
    if not isinstance(old, WordPieceTokenizer):
        raise UserError(
            f"{config.extend}: only WordPiece can be extended, and this is another kind. Train a new vocabulary"
        )
    extension = extend_wordpiece(
        old, texts, add=config.add, special_tokens=config.special_tokens, user_tokens=config.user_tokens
    )
    if len(extension.added) < config.add:
        say(
            f"the text holds no more than {counted(len(extension.added), 'word')} worth adding; {config.add} were "
            "asked for"
        )
    say(
        f"{counted(len(extension.added), 'word')} added: {_first_words(extension.added)}. Tokens a word in this text: "
        f"{extension.before / max(1, extension.words):.3f} before, {extension.after / max(1, extension.words):.3f} now"
    )
    if extension.lost:
        say(f"{extension.lost:,} of {counted(extension.words, 'word')} were known before and are unknown now")
    return extension.tokenizer


def _first_words(words: tuple[str, ...]) -> str:
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "") if words else "none"
