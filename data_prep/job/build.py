"""The whole job: a corpus in, a folder of shards out. Started again after a stop, it goes on."""

import contextlib
import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bert_jax.data.pretraining.record import MANIFEST, TOKENIZER_FOLDER, Manifest, read_manifest
from bert_jax.errors import Stopped, UserError
from bert_jax.files import read_json
from bert_jax.text import load_tokenizer
from bert_jax.wording import counted
from data_prep.corpus.duplicates import find_duplicates
from data_prep.corpus.parts import Part, plan_parts, read_many_times
from data_prep.corpus.reading import reading_of
from data_prep.corpus.sources import find_sources
from data_prep.job.claim import claimed, describe, keep_tokenizer, list_input, records
from data_prep.job.dask_engine import run_on_dask
from data_prep.job.effort import Effort, Report
from data_prep.job.engines import Engine, run_tasks
from data_prep.job.job_progress import Progress
from data_prep.job.manifests import merge
from data_prep.job.part_job import PARTS_FOLDER, PartJob, PartResult, length_folder, use_tokenizer
from data_prep.job.shards import write_manifest
from data_prep.job.share import Share, find_share
from data_prep.job.stopping import signals_interrupt
from data_prep.job.worker_count import default_workers
from data_prep.settings import ShardsConfig

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run of the job did. All but the manifest depends on the machine."""

    manifests: Mapping[Path, Manifest]  # by folder, one for each length; none where other shares have parts to make
    parts: int = 0  # made in this run
    text_bytes: int = 0
    seconds: float = 0.0
    efforts: tuple[Effort, ...] = ()  # of these parts

    def seconds_by_stage(self) -> Counter[str]:
        """Of all workers together, so that they are more than went by."""
        stages: Counter[str] = Counter()
        for effort in self.efforts:
            stages.update(effort.seconds)
        return stages

    def cost(self) -> dict[str, str]:
        """What to tell a person, by name; empty where nothing was made."""
        if not self.efforts:
            return {}
        stages = self.seconds_by_stage()
        shares = (f"{name} {seconds / stages.total():.0%}" for name, seconds in stages.most_common())
        return {
            "seconds": f"{self.seconds:.1f} for {counted(self.parts, 'part')}",
            "speed": f"{self.text_bytes / 1e6 / max(self.seconds, 1e-9):.2f} MB/s of {self.text_bytes / 1e6:,.1f} MB",
            "peak memory of a process": f"{max(effort.peak_bytes for effort in self.efforts) / 1e6:,.0f} MB",
            "time went to": ", ".join(shares),
        }


def build_shards(config: ShardsConfig, *, say: Say = lambda line: None) -> Manifest | None:
    """The shards of a corpus are in `config.output`, with their manifest, and the manifest is returned.

    As `build_lengths`; of several lengths the manifest of the first is returned, and None while others are missing.
    """
    return next(iter(build_lengths(config, say=say).values()), None)


def build_lengths(config: ShardsConfig, *, say: Say = lambda line: None) -> Mapping[Path, Manifest]:
    """The shards of a corpus are on disk, with their manifests, which are returned by folder: one for each length.

    The bytes depend on the input and the settings alone, not on who made which part nor on how often the job was
    stopped and started again. A finished job is left as it is. `say` is told what a person may want to know. Of a job
    that is shared, this share is made, and no manifest returned while others are missing.
    """
    return run_job(config, say=say).manifests


def run_job(config: ShardsConfig, *, say: Say = lambda line: None) -> Run:
    """As `build_shards`, and what it cost. SIGTERM and Ctrl-C raise Stopped: nothing half-written is left."""
    results: dict[int, PartResult] = {}
    try:
        with signals_interrupt():
            return _run(config, results, say)
    except KeyboardInterrupt as interrupt:
        what = interrupt.args[0] if interrupt.args else "SIGINT"
        there = f", {len(results)} of the parts there" if results else ""  # none are known of before they are looked at
        raise Stopped(f"{config.output}: stopped by {what}{there}. The same command goes on from here") from None


def _run(config: ShardsConfig, results: dict[int, PartResult], say: Say) -> Run:
    share, engine = find_share(config), _engine(config, say)
    tokenizer = load_tokenizer(Path(config.tokenizer), lowercase=config.lowercase)
    if tokenizer.vocab_size <= len(set(tokenizer.special.all())):
        raise UserError(f"{config.tokenizer}: {tokenizer.vocab_size} entries, control tokens and nothing else")
    use_tokenizer(tokenizer)
    reading = reading_of(config)
    sources, skipped = find_sources(config.input, reading, config.weights)
    parts = plan_parts(sources, reading, int(config.part_mb * 1e6))
    folder = Path(config.output)
    folders = {length: length_folder(folder, config, length) for length in config.lengths}
    job = PartJob(config, folder, folders[config.lengths[0]] / TOKENIZER_FOLDER, tokenizer.fingerprint)
    with claimed(folder, describe(config, tokenizer.fingerprint), share, len(parts)) as claim:
        listing = list_input(sources, skipped)
        if config.dedupe:
            if not share.whole:
                claim.pin_input(listing)  # before what the other shares have found is taken for that of other files
            run_all = functools.partial(_run_on_all, engine)
            job = dataclasses.replace(job, duplicates=find_duplicates(parts, reading, folder / PARTS_FOLDER, run_all))
        results |= _finished(job, parts)
        merged = [one / MANIFEST for one in folders.values() if (one / MANIFEST).is_file()]
        if len(results) == len(parts) and (manifests := _read_all(folders.values())):
            say(f"{folder} is finished already, with these settings and these files")
            return Run(manifests)
        if merged:
            _check_same_files(folder, job, parts)
        claim.pin_input(listing)
        waiting = [parts[index] for index in claim.parts if index not in results]
        if waiting or share.whole:
            for path in merged:
                path.unlink(missing_ok=True)
        if share.whole:
            _remove_other_parts(folder, parts)
        mine = sum(index in results for index in claim.parts)
        if mine:
            say(f"going on in {folder}: {mine} of {counted(len(claim.parts), 'part')} there")
        for one in folders.values():
            keep_tokenizer(one, tokenizer)
        for source, times in read_many_times(parts):
            say(f"{source.path} is read {times} times, from its beginning: smaller files, or .parquet, take less time")
        run = _make(job, waiting, results, engine)
        results |= _finished(job, parts) if not share.whole else {}
        if missing := set(range(len(parts))) - results.keys():
            say(_still_to_come(share, len(parts), missing))
            return run
        claim.clear_all_partial()
        manifests = {one: merge(config, length, tokenizer, results, skipped) for length, one in folders.items()}
        for one, manifest in manifests.items():
            write_manifest(one, manifest)
    for note in [*skipped.notes, *(note for index in sorted(results) for note in results[index].notes)][:10]:
        say(f"note: {note}")
    _say_what_is_odd(config, manifests[folders[config.lengths[0]]], say)
    return dataclasses.replace(run, manifests={one: read_manifest(one) for one in folders.values()})


def _read_all(folders: Iterable[Path]) -> dict[Path, Manifest]:
    """The manifests of these folders; none where one is missing or damaged, for then all are to be written again."""
    try:
        return {folder: read_manifest(folder) for folder in folders}
    except UserError:
        return {}


def _say_what_is_odd(config: ShardsConfig, manifest: Manifest, say: Say) -> None:
    documents = manifest.statistics["documents"]
    if config.held_out and not manifest.splits["held_out"]:
        say(f"none of {documents} documents was held out for evaluation: a larger --held-out takes some")
    if documents == 1 and config.examples == "pairs":
        say("one document only, so each random next comes from it too: --documents blank-line may find more")
    masked = manifest.statistics.get("share_masked", config.mask_rate)
    if config.mask_unit != "token" and masked < config.mask_rate / 2:
        say(
            f"{masked:.1%} of the tokens are masked, {config.mask_rate:.1%} were asked for: words are too long to be "
            "masked whole, as where no blanks part them. Use --mask-unit token"
        )


def _engine(config: ShardsConfig, say: Say) -> Engine:
    if config.dask is None:
        return functools.partial(run_tasks, workers=config.workers or default_workers())
    if config.parts is not None:
        raise UserError("--dask and --parts: one cluster makes all parts. Leave one of the two out")
    return functools.partial(run_on_dask, cluster=config.dask, workers=config.workers, say=say)


def _finished(job: PartJob, parts: tuple[Part, ...]) -> dict[int, PartResult]:
    """What is there of all parts, whoever made it."""
    with contextlib.suppress(OSError):
        list((job.folder / PARTS_FOLDER).iterdir())  # a shared file system may remember otherwise that one was missing
    return {part.index: result for part in parts if (result := job.finished(part))}


def _make(job: PartJob, parts: list[Part], results: dict[int, PartResult], engine: Engine) -> Run:
    started = time.monotonic()
    efforts: list[Effort] = []
    with Progress([part.text_bytes for part in parts]) as progress:

        def done(index: int, result: PartResult, effort: Effort) -> None:
            results[parts[index].index] = result
            efforts.append(effort)
            progress.done(index, result.examples)

        if parts:
            engine(job, parts, on_progress=progress.share, on_done=done)
    text_bytes = sum(part.text_bytes for part in parts)
    return Run(MappingProxyType({}), len(parts), text_bytes, time.monotonic() - started, tuple(efforts))


def _still_to_come(share: Share, parts: int, missing: set[int]) -> str:
    others = [index for index in range(share.count) if missing.intersection(Share(index, share.count).of(parts))]
    names = ", ".join(map(str, others[:10])) + (" ..." if len(others) > 10 else "")
    return (
        f"{share} is done; {len(missing)} of {counted(parts, 'part')} still to come, from --part {names}. The one that "
        "ends last writes the manifest; the same command without --part and --parts does, too"
    )


def _run_on_all(engine: Engine, function: Callable[[Part, Report], None], parts: Sequence[Part]) -> None:
    if not parts:
        return
    with Progress([part.text_bytes for part in parts], "duplicates") as progress:

        def done(index: int, result: None, effort: Effort) -> None:
            progress.done(index, 0)

        engine(function, parts, on_progress=progress.share, on_done=done)


def _check_same_files(folder: Path, job: PartJob, parts: tuple[Part, ...]) -> None:
    """Finished shards may be in use: they are made whole again, but never replaced by those of another text."""
    stamps = {job.stamp(part) for part in parts}
    for path in (folder / PARTS_FOLDER).glob("part-*.json"):
        stamp = None
        with contextlib.suppress(UserError):  # a damaged note is written anew
            stamp = read_json(path).get("stamp")
        if isinstance(stamp, str) and stamp not in stamps:
            raise UserError(f"{folder}: finished, and the input files have changed since. Choose another --output")


def _remove_other_parts(folder: Path, parts: tuple[Part, ...]) -> None:
    """Clears away what an unfinished job made of input that has since become less."""
    for path in [*records(folder), *(folder / PARTS_FOLDER).glob("part-*.json")]:
        number = path.name.split(".")[0].rpartition("-")[2]
        if number.isdecimal() and int(number) >= len(parts):
            path.unlink()
