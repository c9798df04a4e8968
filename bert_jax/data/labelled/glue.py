"""Reading of the GLUE tasks, from their official files or TFDS."""

from collections.abc import Sequence
from pathlib import Path

from bert_jax.data.formats.addresses import address_of, is_file, is_folder, names_in
from bert_jax.data.formats.tfds import TfdsAddress, as_tfds_address, is_ready
from bert_jax.data.labelled.glue_tasks import AX, AX_FOLDERS, GLUE, LEADERBOARD, GlueTask
from bert_jax.data.labelled.labelled_rows import LabelledData, read_labelled
from bert_jax.data.labelled.labels import with_classes, with_scores
from bert_jax.data.labelled.row_files import DEFAULT_OPTIONS, FileOptions, read_plain_table, read_records
from bert_jax.data.labelled.row_notes import one_class_notes, score_notes
from bert_jax.data.labelled.rows import Columns, Rows
from bert_jax.errors import UserError
from bert_jax.wording import counted


def read_labelled_task(
    name: str,
    data: Path,
    *,
    columns: Columns | None = None,
    score: bool = False,
    dev_share: float = 0.1,
    seed: int = 0,
    options: FileOptions = DEFAULT_OPTIONS,
) -> LabelledData:
    """Read the training and dev rows of a GLUE task or of the user's files, the task "rows".

    columns, score, dev_share, seed  for "rows" only (see `read_labelled`)
    """
    if name == "rows":
        return read_labelled(data, columns or Columns(), score=score, dev_share=dev_share, seed=seed, options=options)
    task = GLUE[name]
    notes: list[str] = []

    def read(file: str) -> Rows:
        path = glue_file(name, data, file)
        return with_label_numbers(read_glue(name, path, options, notes=notes), task, task.labels)

    train, dev, *further = (read(file) for file in ("train.tsv", *task.dev))
    also = {set_name(file): rows for file, rows in zip(task.dev[1:], further, strict=True)}
    notes += [*_constant_notes(train, task, "training"), *_constant_notes(dev, task, "dev")]
    return LabelledData(
        train=train, dev=dev, labels=task.labels, metrics=task.metrics, main=task.main, notes=notes, also=also
    )


def _constant_notes(rows: Rows, task: GlueTask, use: str) -> list[str]:
    return score_notes(rows, use) if task.labels is None else one_class_notes(rows, use, task.labels)


def set_name(file: str) -> str:
    """Return the name of a further dev set: mismatched for dev_mismatched.tsv."""
    return file.removesuffix(".tsv").partition("_")[2]


def glue_folder(name: str, data: Path) -> Path:
    """Return the folder of a task; `data` may be that folder or the one with all tasks."""
    task = GLUE[name]
    if not is_folder(data):
        raise UserError(f"{address_of(data)}: no such folder")
    for folder in (data / task.folder, data / name, data):
        if is_file(folder / task.dev[0]) or is_file(folder / "train.tsv"):
            return folder
    raise UserError(f"{data}: no {task.folder}/train.tsv and no train.tsv in this folder")


def glue_file(name: str, data: Path, file: str) -> Path:
    """Return the path of an official file of a task, or of the same split of TFDS; it may not exist."""
    address = as_tfds_address(data)
    if address is None:
        return glue_folder(name, data) / file
    if address.split:
        raise UserError(f"{data}: {name} has its splits by itself. Leave ?split= out")
    return _task_address(name, address).path(file.removesuffix(".tsv").replace("dev", "validation"))


def dev_file(name: str, data: Path) -> Path:
    """Return the file or split to score a task's model on: `data` itself, or the dev set in it."""
    address = as_tfds_address(data)
    if (address and address.split) or (address is None and is_file(data)):
        return data
    return glue_file(name, data, GLUE[name].dev[0])


def has_file(name: str, data: Path, file: str) -> bool:
    """Return whether the folder of all tasks has a file of a task, or tfds:glue its split."""
    if as_tfds_address(data):
        return is_ready(TfdsAddress.read(str(glue_file(name, data, file))))
    return is_file(data / GLUE[name].folder / file)


def leaderboard_file(entry: str, data: Path) -> Path | None:
    """Return the file with the rows of an entry of the leaderboard, None if it doesn't exist."""
    name, file = LEADERBOARD[entry]
    if file == AX and (address := as_tfds_address(data)):
        ax = address.named("glue/ax", "test")
        return Path(str(ax)) if is_ready(ax) else None
    if file == AX:
        return next((data / folder / AX for folder in AX_FOLDERS if is_file(data / folder / AX)), None)
    return glue_file(name, data, file) if has_file(name, data, file) else None


def _task_address(name: str, address: TfdsAddress) -> TfdsAddress:
    """Return the address of a task's data set; `address` may be that or the one of all tasks."""
    suite, _, version = address.name.partition(":")
    if suite == "glue":
        return address.named(f"glue/{name}" + (f":{version}" if version else ""), address.split)
    if suite not in (f"glue/{data_set}" for data_set in (name, *GLUE[name].also)):
        raise UserError(f"{address}: not the data of {name}, which is {address.named(f'glue/{name}')}")
    return address


def read_glue(name: str, path: Path, options: FileOptions = DEFAULT_OPTIONS, *, notes: list[str] | None = None) -> Rows:
    """Read the rows of an official file, or of a split of TFDS in the order of the file.

    Labels are spelled as in files; test files have none. The files have no quoting.

    notes  gets a note on rows that were skipped
    """
    task = GLUE[name]
    if address := as_tfds_address(path):
        return _read_tfds(task, _task_address(name, address), options)
    if not is_file(path) and is_folder(path.parent):
        beside = ", ".join(name for name in names_in(path.parent) if name.endswith(".tsv")) or "no .tsv file"
        raise UserError(f"{path}: no such file; {path.parent} holds {beside}")
    fields = read_plain_table(path, options)
    is_test = path.stem.startswith(("test", "diagnostic"))  # these have a header in all tasks
    header = list(task.header) if task.header and not is_test else next(fields, (0, [""]))[1]
    for column in (task.text, task.pair, None if is_test else task.label):
        if column is not None and column not in header:
            raise UserError(
                f"{path}: no column {column!r}; it has {', '.join(map(repr, header))}. Is it {task.folder}?"
            )
    numbers: list[int] = []
    rows = Rows(
        texts=[],
        pairs=None if task.pair is None else [],
        labels=None if is_test else [],
        source=str(path),
        lines=[],
        numbers=numbers,
    )
    broken = 0
    for number, (line, values) in enumerate(fields, 1):
        if len(values) != len(header):
            if task.skip_short_rows and not is_test:  # the leaderboard counts the rows of a test file
                broken += 1
                continue
            raise UserError(
                f"{path} line {line}: {len(values)} fields, {len(header)} are expected. Is it {task.folder}?"
            )
        record = dict(zip(header, values, strict=True))
        rows.lines.append(line)
        numbers.append(number)
        rows.texts.append(record[task.text])
        if rows.pairs is not None and task.pair is not None:
            rows.pairs.append(record[task.pair])
        if rows.labels is not None:
            rows.labels.append(record[task.label])
    if not len(rows):
        raise UserError(f"{path}: no rows")
    if broken and notes is not None:
        notes.append(f"{path}: {counted(broken, 'broken row')} left out")
    return rows


def _read_tfds(task: GlueTask, address: TfdsAddress, options: FileOptions) -> Rows:
    texts = task.features or ((task.text,) if task.pair is None else (task.text, task.pair))
    is_test = (address.split or "").startswith("test")
    path = address.path(address.split or "train")
    records = list(read_records(path, (*texts, "label", "idx"), options))
    records.sort(key=lambda record: record[1]["idx"])  # TFDS shuffles them
    if not records:
        raise UserError(f"{address}: no rows")
    labels = [record["label"] for _, record in records]
    if task.labels is not None and not is_test:
        for (number, _), label in zip(records, labels, strict=True):
            if label not in task.labels:
                raise UserError(f"{address} example {number}: label {label!r} is not among {', '.join(task.labels)}")
        labels = [task.spelled[task.labels.index(label)] for label in labels]
    return Rows(
        texts=[record[texts[0]] for _, record in records],
        pairs=[record[texts[1]] for _, record in records] if len(texts) > 1 else None,
        labels=None if is_test else [str(label) for label in labels],
        source=str(address),
        lines=[number for number, _ in records],
    )


def with_label_numbers(rows: Rows, task: GlueTask, labels: Sequence[str] | None) -> Rows:
    """Return the rows with scores for labels, or class ids in the order of a model's `labels`."""
    check_classes(task, labels)
    if task.labels is None:
        return with_scores(rows)
    return with_classes(rows, [label_in_files(task, label, labels) for label in labels or ()])


def label_in_files(task: GlueTask, label: str, labels: Sequence[str] | None) -> str:
    """Return the spelling of a model's class in the files of a task. `labels` are all classes of the model."""
    check_classes(task, labels)
    return task.spelled[(task.labels or ()).index(label)]


def check_classes(task: GlueTask, labels: Sequence[str] | None) -> None:
    """Raise UserError unless the classes of a model are those of a task, in any order."""
    if sorted(labels or ()) != sorted(task.labels or ()):
        ours, theirs = (", ".join(names or ()) or "none, but a score" for names in (task.labels, labels))
        raise UserError(f"{task.folder} has the classes {ours}, the model {theirs}: which is which is not known")
