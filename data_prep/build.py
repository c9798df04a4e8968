"""The whole job: a corpus in, a folder of shards out. Started again after a stop, it goes on."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from bert_jax.data.record import MANIFEST, SUFFIX, TOKENIZER_FOLDER, Manifest, read_manifest
from bert_jax.errors import UserError
from bert_jax.text import load_tokenizer
from data_prep.config import ShardsConfig
from data_prep.corpus import Part, find_sources, plan_parts
from data_prep.engines import run_tasks
from data_prep.job import (
    LENIENCE,
    PARTS_FOLDER,
    TRANSIENT,
    PartJob,
    PartResult,
    keep_tokenizer,
    length_folder,
    reading_of,
)
from data_prep.merge import merge
from data_prep.progress import Progress
from data_prep.shards import PARTIAL, disk_errors, write_manifest, write_text

JOB_FILE = "job.json"


def build_shards(config: ShardsConfig, *, say: Callable[[str], None] = lambda line: None) -> Manifest:
    """The shards of a corpus are in `config.output`, with their manifest, and the manifest is returned.

    As `build_lengths`; of several lengths the manifest of the first is returned.
    """
    return next(iter(build_lengths(config, say=say).values()))


def build_lengths(config: ShardsConfig, *, say: Callable[[str], None] = lambda line: None) -> dict[Path, Manifest]:
    """The shards of a corpus are on disk, with their manifests, which are returned by folder: one for each length.

    The bytes depend on the input and the settings alone, not on the number of workers nor on how often the job was
    stopped and started again. A finished job is left as it is. `say` is told what a person may want to know.
    """
    tokenizer = load_tokenizer(Path(config.tokenizer))
    if tokenizer.vocab_size <= len(set(tokenizer.special.all())):
        raise UserError(f"{config.tokenizer}: {tokenizer.vocab_size} entries, control tokens and nothing else")
    keep_tokenizer(tokenizer)
    sources, skipped = find_sources(config.input)
    parts = plan_parts(sources, reading_of(config), int(config.part_mb * 1e6))
    folder = Path(config.output)
    folders = {length: length_folder(folder, config, length) for length in config.lengths}
    job = PartJob(config, folder, folders[config.lengths[0]] / TOKENIZER_FOLDER, tokenizer.fingerprint)
    with _claimed(folder, _description(config, tokenizer.fingerprint)):
        results = {part.index: result for part in parts if (result := job.finished(part))}
        merged = [one / MANIFEST for one in folders.values() if (one / MANIFEST).is_file()]
        if len(results) == len(parts) and len(merged) == len(folders):
            say(f"{folder} is finished already, with these settings and these files")
            return {one: read_manifest(one) for one in folders.values()}
        if merged:
            _check_same_files(folder, job, parts)
        for path in merged:
            path.unlink()
        _remove_other_parts(folder, parts)
        if results:
            say(f"going on in {folder}: {len(results)} of {len(parts)} parts are there")
        for one in folders.values():
            with disk_errors(one / TOKENIZER_FOLDER):
                one.mkdir(exist_ok=True)
                if not (one / TOKENIZER_FOLDER).is_dir():
                    tokenizer.save(one / TOKENIZER_FOLDER)
        waiting = [part for part in parts if part.index not in results]
        _run(job, waiting, results, config.workers or len(os.sched_getaffinity(0)))
        _remove_partial(folder)
        manifests = {one: merge(config, length, tokenizer, results, skipped) for length, one in folders.items()}
        for one, manifest in manifests.items():
            write_manifest(one, manifest)
    for note in [*skipped.notes, *(note for index in sorted(results) for note in results[index].notes)][:10]:
        say(f"left out: {note}")
    _say_what_is_odd(config, manifests[folders[config.lengths[0]]], say)
    return {one: read_manifest(one) for one in folders.values()}


def _say_what_is_odd(config: ShardsConfig, manifest: Manifest, say: Callable[[str], None]) -> None:
    documents = manifest.statistics["documents"]
    if config.held_out and not manifest.splits["held_out"]:
        say(f"none of {documents} documents was held out for evaluation: a larger --held-out takes some")
    if documents == 1 and config.examples == "pairs":
        say("one document only, so each random next comes from it too: --documents blank-line may find more")


def _run(job: PartJob, parts: list[Part], results: dict[int, PartResult], workers: int) -> None:
    with Progress([part.text_bytes for part in parts]) as progress:

        def done(index: int, result: PartResult) -> None:
            results[parts[index].index] = result
            progress.done(index, result.examples)

        run_tasks(job, parts, workers=workers, on_progress=progress.share, on_done=done)


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
            if not _records(folder):
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


def _records(folder: Path) -> list[Path]:
    """The shards in the folder, and in those of its lengths."""
    return [*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*/*{SUFFIX}")]


def _remove_other_parts(folder: Path, parts: tuple[Part, ...]) -> None:
    """Clears away what an unfinished job made of input that has since become less."""
    for path in [*_records(folder), *(folder / PARTS_FOLDER).glob("part-*.json")]:
        number = path.name.split(".")[0].rpartition("-")[2]
        if number.isdecimal() and int(number) >= len(parts):
            path.unlink()


def _remove_partial(folder: Path) -> None:
    """Clears away what a process left that was killed."""
    for path in [*folder.glob(f"*{PARTIAL}"), *folder.glob(f"*/*{PARTIAL}")]:
        path.unlink(missing_ok=True)


def _remove_beginnings(folder: Path) -> None:
    """A job that failed before its first shard was finished leaves nothing."""
    shutil.rmtree(folder / PARTS_FOLDER, ignore_errors=True)
    for tokenizer in [folder / TOKENIZER_FOLDER, *folder.glob(f"*/{TOKENIZER_FOLDER}")]:
        shutil.rmtree(tokenizer, ignore_errors=True)
    for one in [*(path for path in folder.iterdir() if path.is_dir()), folder]:
        with contextlib.suppress(OSError):
            one.rmdir()


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
