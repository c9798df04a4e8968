"""The command line of `bert-jax prep vocab | report | shards | check`.

Each command imports its modules after its arguments are parsed, so that --help and misspelt flags are answered at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from bert_jax.settings.command_line import boolean_flags, no_plugins, stop_at_foreign_flags
from bert_jax.terminal import say
from data_prep.settings import ReportConfig, ShardsConfig, VocabConfig

CONFIGS = {"vocab": VocabConfig, "report": ReportConfig, "shards": ShardsConfig}


def report_progress(line: str) -> None:
    say(line, to_stderr=True)


def main(argv: list[str]) -> int:
    """Run a command and return its exit code. Raises UserError for wrong input, SystemExit for wrong usage."""
    if argv and argv[0] in CONFIGS:
        config = CONFIGS[argv[0]]
        stop_at_foreign_flags(argv[1:], config, f"bert-jax prep {argv[0]}")
        flags = boolean_flags(config)
        argv = [flags.get(argument, argument) for argument in argv]
    with no_plugins():
        return tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="bert-jax prep",
            description="Turn text into shards of examples. Needs neither an accelerator nor JAX.",
            args=argv,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        )


def run_vocab(config: VocabConfig) -> int:
    """Train a vocabulary, or add words of a corpus to an existing one.

    bert-jax prep vocab --input books/ notes.jsonl.gz --output vocab/ --size 30522

    bert-jax prep vocab --input trials/ --output vocab/ --kind bpe --user-tokens GLP-1 HbA1c

    bert-jax prep vocab --input trials/ --output longer/ --extend bert-base-uncased/vocab.txt --add 500
    """
    from data_prep.vocabulary.train import train_vocab

    train_vocab(config, say=report_progress)
    return 0


def run_report(config: ReportConfig) -> int:
    """Compare how vocabularies tokenise a corpus, and say whether a vocabulary of the domain pays.

    bert-jax prep report --input trials/ --tokenizer bert-base-uncased/vocab.txt vocab/ --output report.md
    """
    from data_prep.checking.printed_tables import print_report
    from data_prep.vocabulary.comparison import compare_vocabularies

    print_report(compare_vocabularies(config, say=report_progress))
    return 0


def run_shards(config: ShardsConfig) -> int:
    """Turn text into shards of examples. The same command resumes a stopped job.

    bert-jax prep shards --input books/ 'wiki/*.jsonl.gz' --tokenizer vocab/ --output shards/ --length 128

    bert-jax prep shards --input books/ --tokenizer vocab/ --output packed/ --examples packed --masking dynamic
    """
    from data_prep.checking.printed_tables import print_summary
    from data_prep.job.build import run_job

    result = run_job(config, say=report_progress)
    cost = result.cost_summary()
    for folder, manifest in result.manifests.items():
        print_summary(folder, manifest, cost)
        cost = {}
    if cost and result.parts:
        report_progress(", ".join(f"{name} {value}" for name, value in cost.items()))
    return 0


def run_check(folder: Annotated[Path, tyro.conf.Positional], show: int = 0) -> int:
    """Verify every file, checksum and example of a folder of shards.

    bert-jax prep check shards/ --show 5

    Args:
        folder: A folder written by `bert-jax prep shards`.
        show: Print this many examples of each split, with masked tokens as {word→[MASK]}.
    """
    from data_prep.checking.check import check_shards
    from data_prep.checking.printed_tables import print_examples, print_summary
    from data_prep.checking.shown_examples import show_examples

    manifest = check_shards(folder)
    print_summary(folder, manifest)
    print_examples(show_examples(folder, manifest, show) if show else [])
    return 0


COMMANDS: dict[str, Callable[..., Any]] = {
    "vocab": run_vocab,
    "report": run_report,
    "shards": run_shards,
    "check": run_check,
}
