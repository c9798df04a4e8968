"""What the parts have become, put together: the manifest of each length, and its statistics."""

import dataclasses
from collections import Counter
from collections.abc import Mapping

from bert_jax.data.pretraining.record import Manifest
from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import counted
from data_prep.job.part_job import SPLITS, TRANSIENT, PartResult, masking_of
from data_prep.settings import ShardsConfig


def merge(
    given: ShardsConfig, length: int, tokenizer: Tokenizer, results: Mapping[int, PartResult], skipped: Counter[str]
) -> Manifest:
    """The manifest of one length. Raises UserError where not one training example came about."""
    config = given.at(length)
    parts = [results[index] for index in sorted(results)]
    made = [next(one for one in part.made if one.length == length) for part in parts]
    splits = {split: tuple(one.shards[split] for one in made if split in one.shards) for split in SPLITS}
    counts: Counter[str] = Counter(skipped)
    for one in [part.counts for part in parts] + [one.counts for one in made]:
        counts.update(one)
    if not splits["train"]:
        raise UserError(_why_nothing(config, counts))
    return Manifest(
        length=length,
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.fingerprint,
        masking=masking_of(config),
        seed=config.seed,
        dupe_factor=config.passes,
        splits=splits,
        statistics=statistics(counts, length),
        settings={key: value for key, value in dataclasses.asdict(config).items() if key not in TRANSIENT},
        kind=config.examples,
        separators=tokenizer.separators,
        segments=tokenizer.segments,
    )


def _why_nothing(config: ShardsConfig, counts: Counter[str]) -> str:
    if not counts["tokens"]:
        return f"no words in {', '.join(config.input)}: {counted(counts['documents'], 'document')}, all empty"
    held = f", {counts['documents_held_out']} of them held out" if counts["documents_held_out"] else ""
    larger = "larger --weights, " if config.weights and min(config.weights) * config.passes < 1 else ""
    return (
        f"{', '.join(config.input)}: no training example came of {counted(counts['documents'], 'document')}{held} and "
        f"{counted(counts['sentences'], 'sentence')}. Give more text, {larger}--held-out 0, or --documents "
        "blank-line if "
        "blank lines part them"
    )


def statistics(counts: Counter[str], length: int) -> dict[str, float]:
    """The counts, and the shares that tell whether the shards are as they should be."""
    examples, by_choice = counts["examples"], counts["examples"] - counts["examples_of_one_sentence"]
    shares = {
        "share_padding": 1 - counts["tokens_in_examples"] / (length * examples),
        "share_unknown": counts["tokens_unknown"] / counts["tokens"],
    }
    if "tokens_masked" in counts:
        shares["share_masked"] = counts["tokens_masked"] / counts["tokens_in_examples"]
    if "examples_random_next" in counts:
        shares["share_random_next"] = counts["examples_random_next"] / examples
        # Half of the pairs, as it should be; a lone sentence has no true next, so that the share above is larger.
        chosen = counts["examples_random_next"] - counts["examples_of_one_sentence"]
        shares["share_random_next_by_choice"] = chosen / max(1, by_choice)
    if "examples_swapped" in counts:
        shares["share_swapped"] = counts["examples_swapped"] / examples
    return dict(sorted((counts + Counter()).items())) | {name: round(share, 6) for name, share in shares.items()}
