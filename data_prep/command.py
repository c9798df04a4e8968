"""`bert-jax prep vocab | report | shards | check`: thin over the functions of their names.

Each imports what it needs when its command line is read: --help and mistakes are to take no time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from bert_jax.foreign_flags import hints
from bert_jax.terminal import say
from data_prep.settings import ReportConfig, ShardsConfig, VocabConfig

# tyro makes such pairs of flags for true or false, not where a third thing, the default of the kind, is possible.
CONFIGS = {"vocab": VocabConfig, "report": ReportConfig, "shards": ShardsConfig}
FLAGS = {"--lowercase": "--lowercase=True", "--no-lowercase": "--lowercase=False"}


def report_progress(line: str) -> None:
    say(line, to_stderr=True)


def main(argv: list[str]) -> int:
    """Runs one of them; raises UserError for the user's mistakes, SystemExit for a wrong command line."""
    if argv and argv[0] in CONFIGS and (told := hints(argv[1:], CONFIGS[argv[0]])):
        say(f"bert-jax prep {argv[0]}: {'; '.join(told)}. All flags: bert-jax prep {argv[0]} --help", to_stderr=True)
        raise SystemExit(2)
    return tyro.extras.subcommand_cli_from_dict(
        JOBS,
        prog="bert-jax prep",
        description="From text to shards of examples. Needs no accelerator and no JAX.",
        args=[FLAGS.get(argument, argument) for argument in argv],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )


def vocab(config: VocabConfig) -> int:
    """Train a vocabulary, or add the words of a corpus to one.

    bert-jax prep vocab --input books/ notes.jsonl.gz --output vocab/ --size 30522

    bert-jax prep vocab --input trials/ --output vocab/ --kind bpe --user-tokens GLP-1 HbA1c

    bert-jax prep vocab --input trials/ --output longer/ --extend bert-base-uncased/vocab.txt --add 500
    """
    from data_prep.vocabulary.train import train_vocab

    train_vocab(config, say=report_progress)
    return 0


def report(config: ReportConfig) -> int:
    """Say how vocabularies cut a corpus, side by side, and whether one of the domain pays.

    bert-jax prep report --input trials/ --tokenizer bert-base-uncased/vocab.txt vocab/ --output report.md
    """
    from data_prep.checking.printed_tables import print_report
    from data_prep.vocabulary.comparison import report_vocabularies

    print_report(report_vocabularies(config, say=report_progress))
    return 0


def shards(config: ShardsConfig) -> int:
    """Turn text into shards of examples. Stopped and started again, the job goes on where it was.

    bert-jax prep shards --input books/ 'wiki/*.jsonl.gz' --tokenizer vocab/ --output shards/ --length 128

    bert-jax prep shards --input books/ --tokenizer vocab/ --output packed/ --examples packed --masking dynamic
    """
    from data_prep.checking.printed_tables import print_summary
    from data_prep.job.build import run_job

    run = run_job(config, say=report_progress)
    cost = run.cost()
    for folder, manifest in run.manifests.items():
        print_summary(folder, manifest, cost)
        cost = {}
    if cost and run.parts:
        report_progress(", ".join(f"{name} {value}" for name, value in cost.items()))
    return 0


def check(folder: Annotated[Path, tyro.conf.Positional], show: int = 0) -> int:
    """Verify every file, checksum and example of a folder of shards.

    bert-jax prep check shards/ --show 5

    Args:
        folder: What `bert-jax prep shards` wrote.
        show: Print so many examples of each split, what is to be predicted marked {word→[MASK]}.
    """
    from data_prep.checking.check import check_shards
    from data_prep.checking.printed_tables import print_examples, print_summary
    from data_prep.checking.shown_examples import show_examples

    manifest = check_shards(folder)
    print_summary(folder, manifest)
    print_examples(show_examples(folder, manifest, show) if show else [])
    return 0


JOBS: dict[str, Callable[..., Any]] = {"vocab": vocab, "report": report, "shards": shards, "check": check}
