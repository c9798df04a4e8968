"""Make the manifest of each length, with its statistics, from the results of all parts."""

import dataclasses
from collections import Counter
from collections.abc import Mapping

from bert_jax.data.pretraining.record import Manifest
from bert_jax.errors import UserError
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.wording import counted
from data_prep.job.part_job import SETTINGS_WITHOUT_EFFECT, SPLITS, PartResult, masking_of
from data_prep.settings import ShardsConfig


def make_manifest(
    job: ShardsConfig, length: int, tokenizer: Tokenizer, results: Mapping[int, PartResult], skipped: Counter[str]
) -> Manifest:
    """Return the manifest of one length. Raises UserError if there is no training example."""
    config = job.at(length)
    parts = [results[index] for index in sorted(results)]
    at_length = [next(entry for entry in part.lengths if entry.length == length) for part in parts]
    splits = {split: tuple(entry.shards[split] for entry in at_length if split in entry.shards) for split in SPLITS}
    counts: Counter[str] = Counter(skipped)
    for part_counts in [part.counts for part in parts] + [entry.counts for entry in at_length]:
        counts.update(part_counts)
    if not splits["train"]:
        raise UserError(_explain_no_examples(config, counts))
    return Manifest(
        length=length,
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.fingerprint,
        masking=masking_of(config),
        seed=config.seed,
        dupe_factor=config.passes,
        splits=splits,
        statistics=compute_statistics(counts, length),
        settings={
            key: value for key, value in dataclasses.asdict(config).items() if key not in SETTINGS_WITHOUT_EFFECT
        },
        kind=config.examples,
        separators=tokenizer.separators,
        segments=tokenizer.segments,
    )


def _explain_no_examples(config: ShardsConfig, counts: Counter[str]) -> str:
    if not counts["tokens"]:
        return f"no words in {', '.join(config.input)}: {counted(counts['documents'], 'document')}, all empty"
    held = f", {counts['documents_held_out']} of them held out" if counts["documents_held_out"] else ""
    larger = "larger --weights, " if config.weights and min(config.weights) * config.passes < 1 else ""
    return (
        f"{', '.join(config.input)}: no training example came of {counted(counts['documents'], 'document')}{held} and "
        f"{counted(counts['sentences'], 'sentence')}. Give more text, {larger}--held-out 0, or --documents "
        "blank-line if blank lines part them"
    )


def compute_statistics(counts: Counter[str], length: int) -> dict[str, float]:
    """Return the counts, and the shares by which one sees whether the shards are as expected."""
    examples, by_choice = counts["examples"], counts["examples"] - counts["examples_of_one_sentence"]
    shares = {
        "share_padding": 1 - counts["tokens_in_examples"] / (length * examples),
        "share_unknown": counts["tokens_unknown"] / counts["tokens"],
    }
    if "tokens_masked" in counts:
        shares["share_masked"] = counts["tokens_masked"] / counts["tokens_in_examples"]
    if "examples_random_next" in counts:
        shares["share_random_next"] = counts["examples_random_next"] / examples
        # Half of the pairs where there was a choice. A lone sentence has no true next, so the share above is larger.
        chosen = counts["examples_random_next"] - counts["examples_of_one_sentence"]
        shares["share_random_next_by_choice"] = chosen / max(1, by_choice)
    if "examples_swapped" in counts:
        shares["share_swapped"] = counts["examples_swapped"] / examples
    return dict(sorted((counts + Counter()).items())) | {name: round(share, 6) for name, share in shares.items()}
