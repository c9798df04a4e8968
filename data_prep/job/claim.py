"""A job's hold on its output folder: what the job is, which input it saw, and which parts are being made by whom.

In `parts/`: job.json says the settings, input.json the files, lock holds no bytes. The lock on part 7 is a lock on byte
7 of it, so that machines that make different parts run side by side, and those that would make the same part do not.
"""

import contextlib
import dataclasses
import errno
import fcntl
import fnmatch
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bert_jax.data.pretraining.record import MANIFEST, SHARD_SUFFIX, TOKENIZER_FOLDER
from bert_jax.errors import UserError
from bert_jax.files import parse_json, read_json, read_text
from bert_jax.output import FOREIGN, check_folder
from bert_jax.text.tokenizer import Tokenizer
from data_prep.corpus.parts import Source
from data_prep.corpus.reading import Losses
from data_prep.job.part_job import LENIENCE, PARTS_FOLDER, TRANSIENT
from data_prep.job.shards import PARTIAL, disk_errors, partial_path, write_once, write_text
from data_prep.job.share import Share
from data_prep.settings import ShardsConfig

JOB_FILE = "job.json"
INPUT_FILE = "input.json"
LOCK_FILE = "lock"
PARTIAL_NAMES = f"*{PARTIAL}", f".*{PARTIAL}.*"  # the second while a tokenizer is saved under the first
NAMED = 3  # files that are told by name


@dataclasses.dataclass(frozen=True)
class Claim:
    """The folder, and the parts of it that are this process's to make."""

    folder: Path
    share: Share
    parts: range

    def clear_partial(self) -> None:
        """What a process left that was killed is gone, as far as it belongs to these parts."""
        names = [f"*-{index:05d}.*{PARTIAL}" for index in self.parts]
        _remove(_found(self.folder, PARTIAL_NAMES if self.share.whole else names))

    def clear_all_partial(self) -> None:
        """Nothing half-written is left, now that every part is there; a manifest may be on its way from elsewhere."""
        _remove([path for path in _found(self.folder, PARTIAL_NAMES) if not path.name.startswith(MANIFEST)])

    def pin_input(self, listing: str) -> None:
        """The input is noted. A whole job takes it as it is now; shares must all see what the first of them saw."""
        path = self.folder / PARTS_FOLDER / INPUT_FILE
        if write_once(path, listing) or read_text(path) == listing:
            return
        if not self.share.whole:
            raise UserError(
                f"{self.folder}: the input is not what the job began with ({_difference(path, listing)}). Bring it "
                "back, or run once without --part and --parts, or choose another --output"
            )
        write_text(path, listing)


def describe(config: ShardsConfig, fingerprint: str) -> dict[str, object]:
    """What makes two jobs the same job."""
    passing = (*TRANSIENT, *LENIENCE)
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in passing}
    settings["tokenizer"] = fingerprint
    return json.loads(json.dumps(settings))


@contextlib.contextmanager
def claimed(folder: Path, job: dict[str, object], share: Share, parts: int) -> Iterator[Claim]:
    """The parts of this share are this process's and no other's, until it ends, however it ends.

    Refuses a folder of another job or of no job, and parts that are being made. A whole job that ends before its first
    shard is finished leaves nothing.
    """
    job_path = folder / PARTS_FOLDER / JOB_FILE
    check_folder(folder)
    made = not folder.is_dir()  # by us, so to be removed by us
    if _holds_other_things(folder) and not job_path.is_file():
        raise UserError(f"{folder}: not empty, and not from this command. Choose another --output")
    if job_path.is_file():
        _check_same_job(folder, job)  # first of all, so that a refusal leaves no trace
    claim = Claim(folder, share, share.of(parts))
    with disk_errors(job_path):
        job_path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(job_path.with_name(LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _lock(handle, claim)
        try:
            claim.clear_partial()
            if not write_once(job_path, json.dumps(job, indent=1, sort_keys=True) + "\n"):
                _check_same_job(folder, job)
            yield claim
        except BaseException:
            claim.clear_partial()
            if share.whole and not any(path.name.startswith("train-") for path in records(folder)):
                _remove_beginnings(folder, made=made)
            raise
    finally:
        os.close(handle)


def list_input(sources: Sequence[Source], skipped: Losses) -> str:
    """The files of a job and what was passed over, so that another machine can tell whether it sees the same."""
    files = [f"{source.size} {source.stamp} {source.path}" for source in sources]
    return json.dumps({"files": files, "skipped": dict(sorted(skipped.items()))}, indent=0) + "\n"


def keep_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """The output folder holds the tokenizer, whole, whoever was first to put it there."""
    path = folder / TOKENIZER_FOLDER
    if path.is_dir():
        return
    partial = partial_path(path)
    with disk_errors(path):
        folder.mkdir(exist_ok=True)
        try:
            tokenizer.save(partial)
            try:
                partial.rename(path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _holds_other_things(folder: Path) -> bool:
    """Whether there is more than another share of this job leaves that is just starting, too."""
    if not folder.exists():
        return False
    beginnings = [path.name for path in (folder / PARTS_FOLDER).glob("*")]
    return bool({path.name for path in folder.iterdir()} - {PARTS_FOLDER} - FOREIGN) or not all(
        name.startswith((JOB_FILE, INPUT_FILE, LOCK_FILE)) for name in beginnings
    )


def _lock(handle: int, claim: Claim) -> None:
    if not claim.parts:
        return
    start, length = (0, 0) if claim.share.whole else (claim.parts.start, len(claim.parts))  # length 0: all there is
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return  # a file system without locks
        what = "is writing here" if claim.share.whole else f"is making the parts of {claim.share}"
        raise UserError(f"{claim.folder}: another job {what}. Wait for it, or choose another --output") from None


def _difference(path: Path, listing: str) -> str:
    try:
        before, now = read_json(path), parse_json(listing, str(path))
        then, new = ({line.split(" ", 2)[2]: line for line in fields["files"]} for fields in (before, now))
        skipped = before["skipped"], now["skipped"]
    except (UserError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise UserError(f"{path}: damaged. Remove {path.parent.parent}, or choose another --output") from None
    told = [f"{name} is new" for name in new if name not in then]
    told += [f"{name} is gone" for name in then if name not in new]
    told += [f"{name} has changed" for name in new if name in then and then[name] != new[name]]
    if not told and skipped[0] != skipped[1]:
        told = [f"passed over {skipped[0]} then, {skipped[1]} now"]
    more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return (", ".join(told[:NAMED]) or "its files come in another order") + more


def _check_same_job(folder: Path, job: dict[str, object]) -> None:
    path = folder / PARTS_FOLDER / JOB_FILE
    try:
        before = read_json(path)
    except UserError:
        raise UserError(f"{path}: damaged. Remove {folder}, or choose another --output") from None
    changed = [name for name in job if before.get(name) != job[name]]
    if changed:
        told = ", ".join(f"{name} {_short(before.get(name))} there, {_short(job[name])} now" for name in changed)
        raise UserError(f"{folder}: shards of another job ({told}). Choose another --output")


def _found(folder: Path, names: Iterable[str]) -> list[Path]:
    """What has such a name in the folder, and in those of its lengths."""
    return [path for path in _inside(folder) if any(fnmatch.fnmatchcase(path.name, name) for name in names)]


def _inside(folder: Path) -> Iterator[Path]:
    """What is in the folder and in its folders; what another share takes away meanwhile is passed over.

    Path.glob of Python 3.11 raises where a folder goes between its being listed and being looked into.
    """
    folders = [folder]
    with contextlib.suppress(FileNotFoundError):
        folders += [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
    for one in folders:
        with contextlib.suppress(FileNotFoundError):
            yield from list(one.iterdir())


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_beginnings(folder: Path, *, made: bool) -> None:
    _remove([folder / PARTS_FOLDER, *_found(folder, [TOKENIZER_FOLDER]), *records(folder)])
    for one in [*(path for path in folder.iterdir() if path.is_dir()), *([folder] if made else [])]:
        with contextlib.suppress(OSError):
            one.rmdir()


def records(folder: Path) -> list[Path]:
    """The shards in the folder, and in those of its lengths."""
    return _found(folder, [f"*{SHARD_SUFFIX}"])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
