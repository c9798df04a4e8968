"""Build a folder of shards from a corpus. The same call resumes a stopped job."""

import contextlib
import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bert_jax.data.pretraining.record import MANIFEST, TOKENIZER_FOLDER, Manifest, read_manifest
from bert_jax.errors import UserError
from bert_jax.files import read_json
from bert_jax.output import require_local
from bert_jax.text import load_tokenizer
from bert_jax.wording import counted
from data_prep.corpus.duplicates import find_duplicates
from data_prep.corpus.parts import Part, plan_parts, read_many_times
from data_prep.corpus.reader_contract import CorpusOptions
from data_prep.corpus.sources import find_sources
from data_prep.job.array_share import Share, find_share
from data_prep.job.dask_engine import run_on_dask
from data_prep.job.engines import Engine, run_tasks
from data_prep.job.job_lock import copy_tokenizer, job_identity, list_input, lock_parts, shard_files
from data_prep.job.job_progress import JobProgress
from data_prep.job.manifests import make_manifest
from data_prep.job.part_job import PARTS_FOLDER, PartJob, PartResult, length_folder, use_tokenizer
from data_prep.job.shards import write_manifest
from data_prep.job.stopping import interrupts_raise_stopped
from data_prep.job.task_cost import TaskCost, TaskReporter
from data_prep.job.worker_count import default_workers
from data_prep.settings import ShardsConfig

MAX_NOTES = 10  # shown notes on what was left out


@dataclasses.dataclass(frozen=True)
class JobResult:
    """The result of one run of the job. All but the manifests depends on the machine."""

    manifests: Mapping[Path, Manifest]  # by folder, one for each length; empty while other shares are missing
    parts: int = 0  # made in this run
    text_bytes: int = 0
    seconds: float = 0.0
    costs: tuple[TaskCost, ...] = ()  # of these parts

    def seconds_by_stage(self) -> Counter[str]:
        """Return the seconds of each stage, summed over all workers."""
        stages: Counter[str] = Counter()
        for cost in self.costs:
            stages.update(cost.seconds)
        return stages

    def cost_summary(self) -> dict[str, str]:
        """Return the cost by name, as text. Empty if no part was made."""
        if not self.costs:
            return {}
        stages = self.seconds_by_stage()
        shares = (f"{name} {seconds / stages.total():.0%}" for name, seconds in stages.most_common())
        return {
            "seconds": f"{self.seconds:.1f} for {counted(self.parts, 'part')}",
            "speed": f"{self.text_bytes / 1e6 / max(self.seconds, 1e-9):.2f} MB/s of {self.text_bytes / 1e6:,.1f} MB",
            "peak memory of a process": f"{max(cost.peak_bytes for cost in self.costs) / 1e6:,.0f} MB",
            "time by stage": ", ".join(shares),
        }


def build_shards(config: ShardsConfig, *, say: Callable[[str], None] = lambda line: None) -> Manifest | None:
    """Build the shards of a corpus and return the manifest of the first length, as `build_lengths` does.

    Returns None while other shares are missing.
    """
    return next(iter(build_lengths(config, say=say).values()), None)


def build_lengths(config: ShardsConfig, *, say: Callable[[str], None] = lambda line: None) -> Mapping[Path, Manifest]:
    """Build the shards of a corpus in `config.output`, and return the manifest of each length by its folder.

    The bytes depend on the input and the settings only, not on the workers, nor on how often the job was stopped and
    resumed. A finished job is left unchanged. With `config.parts`, makes one share of the job, and returns no manifest
    while other shares are missing. `say` gets remarks for the user.
    """
    return run_job(config, say=say).manifests


def run_job(config: ShardsConfig, *, say: Callable[[str], None] = lambda line: None) -> JobResult:
    """Build shards as `build_lengths` does, and return their cost, too.

    SIGTERM and Ctrl-C raise Stopped and leave nothing half-written.
    """
    results: dict[int, PartResult] = {}

    def describe_stop(signal_name: str) -> str:
        done = f", {counted(len(results), 'part')} done" if results else ""  # `results` is empty until notes are read
        return f"{config.output}: stopped by {signal_name}{done}. The same command goes on from here"

    with interrupts_raise_stopped(describe_stop):
        return _run(config, results, say)


def _run(config: ShardsConfig, results: dict[int, PartResult], say: Callable[[str], None]) -> JobResult:
    """Run the job. Fills `results` with the parts that are done, for the message of a stop."""
    share, engine = find_share(config), _engine(config, say)
    tokenizer = load_tokenizer(Path(config.tokenizer), lowercase=config.lowercase)
    if tokenizer.vocab_size <= len(set(tokenizer.special.all())):
        raise UserError(f"{config.tokenizer}: {tokenizer.vocab_size} entries, control tokens and nothing else")
    use_tokenizer(tokenizer)
    options = CorpusOptions.from_config(config)
    sources, skipped = find_sources(config.input, options, config.weights)
    parts = plan_parts(sources, options, int(config.part_mb * 1e6))
    folder = Path(config.output)
    require_local(folder, "--output")
    folders = {length: length_folder(folder, config, length) for length in config.lengths}
    job = PartJob(config, folder, folders[config.lengths[0]] / TOKENIZER_FOLDER, tokenizer.fingerprint)
    with lock_parts(folder, job_identity(config, tokenizer.fingerprint), share, len(parts)) as lock:
        listing = list_input(sources, skipped)
        if config.dedupe:
            if not share.is_whole_job:
                lock.pin_input(listing)  # first, since find_duplicates removes the hashes of other input
            run_all = functools.partial(_run_on_all, engine)
            job = dataclasses.replace(job, duplicates=find_duplicates(parts, options, folder / PARTS_FOLDER, run_all))
        results |= _finished_parts(job, parts)
        old_manifests = [path / MANIFEST for path in folders.values() if (path / MANIFEST).is_file()]
        if len(results) == len(parts) and (manifests := _read_manifests(folders.values())):
            say(f"{folder} is finished already, with these settings and these files")
            return JobResult(manifests)
        if old_manifests:
            _check_same_files(folder, job, parts)
        lock.pin_input(listing)
        waiting = [parts[index] for index in lock.parts if index not in results]
        if waiting or share.is_whole_job:
            for path in old_manifests:
                path.unlink(missing_ok=True)
        if share.is_whole_job:
            _remove_surplus_parts(folder, parts)
        done = sum(index in results for index in lock.parts)
        if done:
            say(f"going on in {folder}: {done} of {counted(len(lock.parts), 'part')} done")
        for path in folders.values():
            copy_tokenizer(path, tokenizer)
        for source, times in read_many_times(parts):
            say(f"{source.path} is read {times} times, from its beginning: smaller files, or .parquet, take less time")
        result = _make_parts(job, waiting, results, engine)
        results |= _finished_parts(job, parts) if not share.is_whole_job else {}
        if missing := set(range(len(parts))) - results.keys():
            say(_describe_missing(share, len(parts), missing))
            return result
        lock.clear_all_partial()
        manifests = {
            path: make_manifest(config, length, tokenizer, results, skipped) for length, path in folders.items()
        }
        for path, manifest in manifests.items():
            write_manifest(path, manifest)
    for note in [*skipped.notes, *(note for index in sorted(results) for note in results[index].notes)][:MAX_NOTES]:
        say(f"note: {note}")
    _warn(config, manifests[folders[config.lengths[0]]], say)
    return dataclasses.replace(result, manifests={path: read_manifest(path) for path in folders.values()})


def _read_manifests(folders: Iterable[Path]) -> dict[Path, Manifest]:
    """Return the manifests of all folders, or none if any is missing or damaged, since all are then written again."""
    try:
        return {folder: read_manifest(folder) for folder in folders}
    except UserError:
        return {}


def _warn(config: ShardsConfig, manifest: Manifest, say: Callable[[str], None]) -> None:
    """Say what is probably not intended about finished shards."""
    documents = manifest.statistics["documents"]
    if config.held_out and not manifest.splits["held_out"]:
        say(f"none of {documents} documents was held out for evaluation: use a larger --held-out")
    if documents == 1 and config.examples == "pairs":
        say("the corpus is one document, so each random next comes from it, too. --documents blank-line may find more")
    masked = manifest.statistics.get("share_masked", config.mask_rate)
    if config.mask_unit != "token" and masked < config.mask_rate / 2:
        say(
            f"{masked:.1%} of the tokens are masked, {config.mask_rate:.1%} were asked for: words are too long to mask "
            "as a whole, as in text without blanks. Use --mask-unit token"
        )


def _engine(config: ShardsConfig, say: Callable[[str], None]) -> Engine:
    if config.dask is None:
        return functools.partial(run_tasks, workers=config.workers or default_workers())
    if config.parts is not None:
        raise UserError("--dask and --parts: a cluster makes all parts. Leave one of the two flags out")
    return functools.partial(run_on_dask, cluster=config.dask, workers=config.workers, say=say)


def _finished_parts(job: PartJob, parts: tuple[Part, ...]) -> dict[int, PartResult]:
    """Return the results of all finished parts, made by any share."""
    with contextlib.suppress(OSError):
        list((job.folder / PARTS_FOLDER).iterdir())  # refreshes what a shared file system's cache holds as missing
    return {part.index: result for part in parts if (result := job.finished(part))}


def _make_parts(job: PartJob, parts: list[Part], results: dict[int, PartResult], engine: Engine) -> JobResult:
    """Make parts, and add each to `results` when it is done."""
    started = time.monotonic()
    costs: list[TaskCost] = []
    with JobProgress([part.text_bytes for part in parts]) as progress:

        def done(index: int, result: PartResult, cost: TaskCost) -> None:
            results[parts[index].index] = result
            costs.append(cost)
            progress.done(index, result.examples)

        if parts:
            engine(job, parts, on_progress=progress.share, on_done=done)
    text_bytes = sum(part.text_bytes for part in parts)
    return JobResult(MappingProxyType({}), len(parts), text_bytes, time.monotonic() - started, tuple(costs))


def _describe_missing(share: Share, parts: int, missing: set[int]) -> str:
    others = [index for index in range(share.count) if missing.intersection(Share(index, share.count).indices(parts))]
    names = ", ".join(map(str, others[:10])) + (" ..." if len(others) > 10 else "")
    return (
        f"{share} is done; {len(missing)} of {counted(parts, 'part')} are missing, from --part {names}. The last share "
        "to finish writes the manifest; the same command without --part and --parts does, too"
    )


def _run_on_all(engine: Engine, function: Callable[[Part, TaskReporter], None], parts: Sequence[Part]) -> None:
    if not parts:
        return
    with JobProgress([part.text_bytes for part in parts], "duplicates") as progress:

        def done(index: int, result: None, cost: TaskCost) -> None:
            progress.done(index, 0)

        engine(function, parts, on_progress=progress.share, on_done=done)


def _check_same_files(folder: Path, job: PartJob, parts: tuple[Part, ...]) -> None:
    """Raise UserError if finished shards are of other text. They may be in use, so they are repaired, not replaced."""
    stamps = {job.stamp(part) for part in parts}
    for path in (folder / PARTS_FOLDER).glob("part-*.json"):
        stamp = None
        with contextlib.suppress(UserError):  # a damaged note is written again
            stamp = read_json(path).get("stamp")
        if isinstance(stamp, str) and stamp not in stamps:
            raise UserError(f"{folder}: finished, and the input files have changed since. Choose another --output")


def _remove_surplus_parts(folder: Path, parts: tuple[Part, ...]) -> None:
    """Remove shards and notes of parts that no longer exist, because the input of an unfinished job has shrunk."""
    for path in [*shard_files(folder), *(folder / PARTS_FOLDER).glob("part-*.json")]:
        number = path.name.split(".")[0].rpartition("-")[2]
        if number.isdecimal() and int(number) >= len(parts):
            path.unlink()
