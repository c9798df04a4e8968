"""Lock the parts that a process makes in an output folder, and record the job's settings and input there.

`parts/` has job.json with the settings, input.json with the files, and an empty file `lock`. The lock on part 7 is a
lock on byte 7 of that file: machines that make different parts run side by side, and no two make the same part.
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
from data_prep.corpus.reader_contract import NotedCounter
from data_prep.job.array_share import Share
from data_prep.job.part_job import PARTS_FOLDER, SETTINGS_WITHOUT_EFFECT, TOLERANCE_SETTINGS
from data_prep.job.shards import PARTIAL, disk_errors, partial_path, write_once, write_text_durably
from data_prep.settings import ShardsConfig

JOB_FILE = "job.json"
INPUT_FILE = "input.json"
LOCK_FILE = "lock"
PARTIAL_NAMES = f"*{PARTIAL}", f".*{PARTIAL}.*"  # the second occurs while a tokenizer is saved under the first
MAX_NAMED_FILES = 3  # in an error message; the rest are counted


@dataclasses.dataclass(frozen=True)
class JobLock:
    """An output folder, and the parts in it that this process makes."""

    folder: Path
    share: Share
    parts: range

    def clear_partial(self) -> None:
        """Remove half-written files of these parts, left by a process that was killed."""
        names = [f"*-{index:05d}.*{PARTIAL}" for index in self.parts]
        _remove(_matching_files(self.folder, PARTIAL_NAMES if self.share.is_whole_job else names))

    def clear_all_partial(self) -> None:
        """Remove all half-written files once every part is done. Another share may be writing the manifest."""
        _remove([path for path in _matching_files(self.folder, PARTIAL_NAMES) if not path.name.startswith(MANIFEST)])

    def pin_input(self, listing: str) -> None:
        """Record the input. Raises UserError if this is a share and the first share saw another input."""
        path = self.folder / PARTS_FOLDER / INPUT_FILE
        if write_once(path, listing) or read_text(path) == listing:
            return
        if not self.share.is_whole_job:
            raise UserError(
                f"{self.folder}: the input is not what the job began with ({_difference(path, listing)}). Bring it "
                "back, or run once without --part and --parts, or choose another --output"
            )
        write_text_durably(path, listing)


def job_identity(config: ShardsConfig, fingerprint: str) -> dict[str, object]:
    """Return the settings in which two runs of the same job agree."""
    ignored = (*SETTINGS_WITHOUT_EFFECT, *TOLERANCE_SETTINGS)
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in ignored}
    settings["tokenizer"] = fingerprint
    return json.loads(json.dumps(settings))


@contextlib.contextmanager
def lock_parts(folder: Path, job: dict[str, object], share: Share, parts: int) -> Iterator[JobLock]:
    """Lock the parts of this share until the block or the process ends.

    Raises UserError for a folder of another job or of no job, and for parts that another process is making. If a whole
    job fails before its first shard is finished, nothing is left.
    """
    job_path = folder / PARTS_FOLDER / JOB_FILE
    check_folder(folder)
    is_new = not folder.is_dir()
    if _has_foreign_files(folder) and not job_path.is_file():
        raise UserError(f"{folder}: not empty, and not from this command. Choose another --output")
    if job_path.is_file():
        _check_same_job(folder, job)  # before anything is written
    lock = JobLock(folder, share, share.indices(parts))
    with disk_errors(job_path):
        job_path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(job_path.with_name(LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _lock(handle, lock)
        try:
            lock.clear_partial()
            if not write_once(job_path, json.dumps(job, indent=1, sort_keys=True) + "\n"):
                _check_same_job(folder, job)
            yield lock
        except BaseException:
            lock.clear_partial()
            if share.is_whole_job and not any(path.name.startswith("train-") for path in shard_files(folder)):
                _remove_beginnings(folder, remove_folder=is_new)
            raise
    finally:
        os.close(handle)


def list_input(sources: Sequence[Source], skipped: NotedCounter) -> str:
    """Return the files of a job and the counts of skipped files as JSON, by which shares compare their input."""
    files = [f"{source.size} {source.stamp} {source.path}" for source in sources]
    return json.dumps({"files": files, "skipped": dict(sorted(skipped.items()))}, indent=0) + "\n"


def copy_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Save the tokenizer in the output folder atomically, unless it is there."""
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


def _has_foreign_files(folder: Path) -> bool:
    """Return True if the folder holds anything but the first files that a share writes."""
    if not folder.exists():
        return False
    names = [path.name for path in (folder / PARTS_FOLDER).glob("*")]
    return bool({path.name for path in folder.iterdir()} - {PARTS_FOLDER} - FOREIGN) or not all(
        name.startswith((JOB_FILE, INPUT_FILE, LOCK_FILE)) for name in names
    )


def _lock(handle: int, lock: JobLock) -> None:
    if not lock.parts:
        return
    start, length = lock.parts.start, len(lock.parts)
    if lock.share.is_whole_job:
        start, length = 0, 0  # all bytes
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return  # a file system without locks
        activity = "is writing here" if lock.share.is_whole_job else f"is making the parts of {lock.share}"
        raise UserError(f"{lock.folder}: another job {activity}. Wait for it, or choose another --output") from None


def _difference(path: Path, listing: str) -> str:
    """Return how the current input differs from the recorded input."""
    try:
        before, now = read_json(path), parse_json(listing, str(path))
        old_files, new_files = ({line.split(" ", 2)[2]: line for line in fields["files"]} for fields in (before, now))
        skipped = before["skipped"], now["skipped"]
    except (UserError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise UserError(f"{path}: damaged. Remove {path.parent.parent}, or choose another --output") from None
    changes = [f"{name} is new" for name in new_files if name not in old_files]
    changes += [f"{name} is gone" for name in old_files if name not in new_files]
    changes += [f"{n} has changed" for n in new_files if n in old_files and old_files[n] != new_files[n]]
    if not changes and skipped[0] != skipped[1]:
        changes = [f"passed over {skipped[0]} then, {skipped[1]} now"]
    more = f" and {len(changes) - MAX_NAMED_FILES} more" if len(changes) > MAX_NAMED_FILES else ""
    return (", ".join(changes[:MAX_NAMED_FILES]) or "its files come in another order") + more


def _check_same_job(folder: Path, job: dict[str, object]) -> None:
    path = folder / PARTS_FOLDER / JOB_FILE
    try:
        before = read_json(path)
    except UserError:
        raise UserError(f"{path}: damaged. Remove {folder}, or choose another --output") from None
    changed = [name for name in job if before.get(name) != job[name]]
    if changed:
        changes = ", ".join(f"{name} {_short(before.get(name))} before, {_short(job[name])} now" for name in changed)
        raise UserError(f"{folder}: shards of another job ({changes}). Choose another --output")


def _matching_files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """Return what matches a pattern in the folder or in a folder of one of its lengths."""
    return [path for path in _entries(folder) if any(fnmatch.fnmatchcase(path.name, name) for name in patterns)]


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the entries of the folder and its subfolders, except those that another share removes meanwhile.

    Path.glob of Python 3.11 raises if a folder vanishes after it was listed.
    """
    folders = [folder]
    with contextlib.suppress(FileNotFoundError):
        folders += [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
    for path in folders:
        with contextlib.suppress(FileNotFoundError):
            yield from list(path.iterdir())


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_beginnings(folder: Path, *, remove_folder: bool) -> None:
    """Remove all files of a job that has no training shard yet, and folders that are then empty."""
    _remove([folder / PARTS_FOLDER, *_matching_files(folder, [TOKENIZER_FOLDER]), *shard_files(folder)])
    for path in [*(path for path in folder.iterdir() if path.is_dir()), *([folder] if remove_folder else [])]:
        with contextlib.suppress(OSError):
            path.rmdir()


def shard_files(folder: Path) -> list[Path]:
    """Return the shards in the folder and in the folders of its lengths."""
    return _matching_files(folder, [f"*{SHARD_SUFFIX}"])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
