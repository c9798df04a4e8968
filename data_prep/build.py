"""The whole job: a corpus in, a folder of shards out. Started again after a stop, it goes on."""

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bert_jax.data.record import MANIFEST, TOKENIZER_FOLDER, Manifest, Masking, read_manifest
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.config import ShardsConfig
from data_prep.duplicates import find_duplicates
from data_prep.engines import Report, run_tasks
from data_prep.job import LENIENCE, PARTS_FOLDER, SPLITS, TRANSIENT, PartJob, PartResult
from data_prep.parts import Part, plan_parts, read_many_times
from data_prep.progress import Progress
from data_prep.reading import reading_of
from data_prep.shards import PARTIAL, disk_errors, write_manifest, write_text
from data_prep.sources import find_sources

JOB_FILE = "job.json"


def build_shards(config: ShardsConfig, *, say: Callable[[str], None] = lambda line: None) -> Manifest:
    """The shards of a corpus are in `config.output`, with their manifest, and the manifest is returned.

    The bytes depend on the input and the settings alone, not on the number of workers nor on how often the job was
    stopped and started again. A finished job is left as it is. `say` is told what a person may want to know.
    """
    tokenizer = load_tokenizer(Path(config.tokenizer))
    if tokenizer.vocab_size <= len(set(tokenizer.special.all())):
        raise UserError(f"{config.tokenizer}: {tokenizer.vocab_size} entries, control tokens and nothing else")
    reading = reading_of(config)
    sources, skipped = find_sources(config.input, reading, config.weights)
    parts = plan_parts(sources, reading, int(config.part_mb * 1e6))
    workers = config.workers or len(os.sched_getaffinity(0))
    folder = Path(config.output)
    job = PartJob(config, folder, folder / TOKENIZER_FOLDER, tokenizer.fingerprint)
    with _claimed(folder, _description(config, tokenizer.fingerprint)):
        if config.dedupe:
            run = functools.partial(_run_on_all, workers)
            job = dataclasses.replace(job, duplicates=find_duplicates(parts, reading, folder / PARTS_FOLDER, run))
        results = {part.index: result for part in parts if (result := job.finished(part))}
        if len(results) == len(parts) and (folder / MANIFEST).is_file():
            say(f"{folder} is finished already, with these settings and these files")
            return read_manifest(folder)
        if (folder / MANIFEST).is_file():
            _check_same_files(folder, job, parts)
        (folder / MANIFEST).unlink(missing_ok=True)
        _remove_other_parts(folder, parts)
        if results:
            say(f"going on in {folder}: {len(results)} of {len(parts)} parts are there")
        with disk_errors(folder / TOKENIZER_FOLDER):
            if not (folder / TOKENIZER_FOLDER).is_dir():
                tokenizer.save(folder / TOKENIZER_FOLDER)
        for source, times in read_many_times(parts):
            say(f"{source.path} is read {times} times, from its beginning: smaller files, or .parquet, take less time")
        waiting = [part for part in parts if part.index not in results]
        _run(job, waiting, results, workers)
        _remove_partial(folder)
        manifest = _merge(config, tokenizer.fingerprint, tokenizer.vocab_size, results, skipped)
        write_manifest(folder, manifest)
    for note in [*skipped.notes, *(note for index in sorted(results) for note in results[index].notes)][:10]:
        say(f"left out: {note}")
    documents = manifest.statistics["documents"]
    if config.held_out and not manifest.splits["held_out"]:
        say(f"none of {documents} documents was held out for evaluation: a larger --held-out takes some")
    if documents == 1:
        say("one document only, so each random next comes from it too: --documents blank-line may find more")
    return read_manifest(folder)


def _run(job: PartJob, parts: list[Part], results: dict[int, PartResult], workers: int) -> None:
    with Progress([part.text_bytes for part in parts]) as progress:

        def done(index: int, result: PartResult) -> None:
            results[parts[index].index] = result
            progress.done(index, sum(shard.examples for shard in result.shards.values()))

        run_tasks(job, parts, workers=workers, on_progress=progress.share, on_done=done)


def _run_on_all(workers: int, function: Callable[[Part, Report], None], parts: Sequence[Part]) -> None:
    with Progress([part.text_bytes for part in parts], "duplicates") as progress:

        def done(index: int, result: None) -> None:
            progress.done(index, 0)

        run_tasks(function, parts, workers=workers, on_progress=progress.share, on_done=done)


def _merge(
    config: ShardsConfig, fingerprint: str, vocab_size: int, results: dict[int, PartResult], skipped: Counter[str]
) -> Manifest:
    ordered = [results[index] for index in sorted(results)]
    splits = {split: tuple(result.shards[split] for result in ordered if split in result.shards) for split in SPLITS}
    counts: Counter[str] = Counter(skipped)
    for result in ordered:
        counts.update(result.counts)
    if not splits["train"]:
        if not counts["tokens"]:
            raise UserError(f"no words in {', '.join(config.input)}: {counts['documents']} documents, all empty")
        held = f", {counts['documents_held_out']} of them held out" if counts["documents_held_out"] else ""
        raise UserError(
            f"{', '.join(config.input)}: no training example came of {counts['documents']} documents{held} and "
            f"{counts['sentences']} sentences. Give more text, --held-out 0, or --documents blank-line if blank lines "
            "part them"
        )
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in TRANSIENT}
    settings["max_predictions"] = config.predictions
    return Manifest(
        length=config.length,
        vocab_size=vocab_size,
        tokenizer=fingerprint,
        masking=Masking(config.mask_rate, config.predictions),
        seed=config.seed,
        dupe_factor=config.dupe_factor,
        splits=splits,
        statistics=_statistics(counts, config.length),
        settings=settings,
    )


def _statistics(counts: Counter[str], length: int) -> dict[str, float]:
    """The counts, and the shares that tell whether the shards are as they should be."""
    shares = {
        "share_padding": 1 - counts["tokens_in_examples"] / (length * counts["examples"]),
        "share_masked": counts["tokens_masked"] / counts["tokens_in_examples"],
        "share_random_next": counts["examples_random_next"] / counts["examples"],
        # Half of the pairs, as it should be; a lone sentence has no true next, so that the share above is larger.
        "share_random_next_by_choice": (counts["examples_random_next"] - counts["examples_of_one_sentence"])
        / max(1, counts["examples"] - counts["examples_of_one_sentence"]),
        "share_unknown": counts["tokens_unknown"] / counts["tokens"],
    }
    return dict(sorted((counts + Counter()).items())) | {name: round(share, 6) for name, share in shares.items()}


def _description(config: ShardsConfig, fingerprint: str) -> dict[str, object]:
    """What makes two jobs the same job. Whether their files are the same is for the stamps of the parts to say."""
    passing = (*TRANSIENT, *LENIENCE)
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in passing}
    settings["tokenizer"] = fingerprint
    return json.loads(json.dumps(settings))


@contextlib.contextmanager
def _claimed(folder: Path, description: dict[str, object]) -> Iterator[None]:
    """The folder is this job's and no other's, also at this moment: a lock is held that goes with the process."""
    job_path = folder / PARTS_FOLDER / JOB_FILE
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file, where a folder for the shards is expected")
    if job_path.is_file():
        _check_same_job(folder, job_path, description)
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty, and not from this command. Choose another --output")
    with disk_errors(job_path):
        job_path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        try:
            _remove_partial(folder)
            if not job_path.is_file():
                write_text(job_path, json.dumps(description, indent=1, sort_keys=True) + "\n")
            yield
        except UserError:
            _remove_partial(folder)
            if not list(folder.glob("train-*.array_record")):
                _remove_beginnings(folder)
            raise
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{folder}: another job is writing here. Wait for it, or choose another --output") from None
    except OSError:
        pass  # a file system without locks


def _check_same_files(folder: Path, job: PartJob, parts: tuple[Part, ...]) -> None:
    """Finished shards may be in use: they are made whole again, but never replaced by those of another text."""
    stamps = {job.stamp(part) for part in parts}
    for path in (folder / PARTS_FOLDER).glob("part-*.json"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            if json.loads(path.read_text())["stamp"] not in stamps:
                raise UserError(f"{folder}: finished, and the input files have changed since. Choose another --output")


def _remove_other_parts(folder: Path, parts: tuple[Part, ...]) -> None:
    """Clears away what an unfinished job made of input that has since become less."""
    for path in [*folder.glob("*.array_record"), *(folder / PARTS_FOLDER).glob("part-*.json")]:
        number = path.name.split(".")[0].rpartition("-")[2]
        if number.isdecimal() and int(number) >= len(parts):
            path.unlink()


def _remove_partial(folder: Path) -> None:
    """Clears away what a process left that was killed."""
    for path in [*folder.glob(f"*{PARTIAL}"), *(folder / PARTS_FOLDER).glob(f"*{PARTIAL}")]:
        path.unlink(missing_ok=True)


def _remove_beginnings(folder: Path) -> None:
    """A job that failed before its first shard was finished leaves nothing."""
    shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)
    shutil.rmtree(folder / TOKENIZER_FOLDER, ignore_errors=True)
    for path in folder.glob("*.array_record"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _check_same_job(folder: Path, job_path: Path, description: dict[str, object]) -> None:
    try:
        before = json.loads(job_path.read_text())
    except ValueError:
        raise UserError(f"{job_path}: damaged. Remove {folder}, or choose another --output") from None
    changed = [name for name in description if before.get(name) != description[name]]
    if changed:
        told = ", ".join(
            f"{name} {_short(before.get(name))} there, {_short(description[name])} now" for name in changed
        )
        raise UserError(f"{folder}: shards of another job ({told}). Choose another --output")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
