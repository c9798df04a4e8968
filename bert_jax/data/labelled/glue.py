"""The rows of the GLUE tasks as published, from files or TFDS."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from bert_jax.data.formats.addresses import address_of, is_file, is_folder, names_in
from bert_jax.data.formats.tfds import TfdsAddress, as_tfds_address, is_ready
from bert_jax.data.labelled.glue_tasks import AX, AX_FOLDERS, GLUE, LEADERBOARD, TASKS, GlueTask
from bert_jax.data.labelled.labels import with_classes, with_scores
from bert_jax.data.labelled.own_rows import Labelled, read_labelled
from bert_jax.data.labelled.row_files import AS_USUAL, Reading, read_plain_table, read_records
from bert_jax.data.labelled.row_notes import one_class_notes, score_notes
from bert_jax.data.labelled.rows import Columns, Rows
from bert_jax.errors import UserError
from bert_jax.wording import counted


def read_task(
    name: str,
    data: Path,
    *,
    columns: Columns | None = None,
    score: bool = False,
    dev_share: float = 0.1,
    seed: int = 0,
    reading: Reading = AS_USUAL,
) -> Labelled:
    """Training and dev rows of a GLUE task, or of the user's own "rows". Columns, score, dev_share and seed serve
    "rows" alone."""
    if name == "rows":
        return read_labelled(
            data,
            columns or Columns(),
            score=score,
            dev_share=dev_share,
            seed=seed,
            reading=reading,
        )
    task = _find_task(name)
    notes: list[str] = []

    def read(file: str) -> Rows:
        path = glue_file(name, data, file)
        return settle(read_glue(name, path, reading, notes=notes), task, task.labels)

    train, dev, *others = (read(file) for file in ("train.tsv", *task.dev))
    also = {set_name(file): rows for file, rows in zip(task.dev[1:], others, strict=True)}
    notes += [*_constant_notes(train, task, "training"), *_constant_notes(dev, task, "dev")]
    return Labelled(train, dev, task.labels, task.metrics, task.main, notes, also)


def _constant_notes(rows: Rows, task: GlueTask, use: str) -> list[str]:
    return score_notes(rows, use) if task.labels is None else one_class_notes(rows, use, task.labels)


def set_name(file: str) -> str:
    """mismatched, of dev_mismatched.tsv."""
    return file.removesuffix(".tsv").partition("_")[2]


def glue_folder(name: str, data: Path) -> Path:
    """The folder of a task, given itself or the folder that holds them all."""
    task = _find_task(name)
    if not is_folder(data):
        raise UserError(f"{address_of(data)}: no such folder")
    for folder in (data / task.folder, data / name, data):
        if is_file(folder / task.dev[0]) or is_file(folder / "train.tsv"):
            return folder
    raise UserError(f"{data}: no {task.folder}/train.tsv and no train.tsv in this folder")


def glue_file(name: str, data: Path, file: str) -> Path:
    """Where an official file of a task is, or the split of TFDS that holds the same; it need not be there."""
    asked = as_tfds_address(data)
    if asked is None:
        return glue_folder(name, data) / file
    if asked.split:
        raise UserError(f"{data}: {name} has its splits by itself. Leave ?split= out")
    return _of_task(name, asked).path(file.removesuffix(".tsv").replace("dev", "validation"))


def dev_file(name: str, data: Path) -> Path:
    """What to score a task's model on: the file or split that `data` names, or its dev set."""
    asked = as_tfds_address(data)
    if (asked and asked.split) or (asked is None and is_file(data)):
        return data
    return glue_file(name, data, GLUE[name].dev[0])


def has_file(name: str, data: Path, file: str) -> bool:
    """Whether a file of a task is in the folder of them all, or its split in tfds:glue."""
    if as_tfds_address(data):
        return is_ready(TfdsAddress.read(str(glue_file(name, data, file))))
    return is_file(data / GLUE[name].folder / file)


def rows_to_answer(entry: str, data: Path) -> Path | None:
    """Where the rows of a file of the leaderboard are; None where they are not there."""
    name, file = LEADERBOARD[entry]
    if file == AX and (asked := as_tfds_address(data)):
        ax = asked.named("glue/ax", "test")
        return Path(str(ax)) if is_ready(ax) else None
    if file == AX:
        return next((data / folder / AX for folder in AX_FOLDERS if is_file(data / folder / AX)), None)
    return glue_file(name, data, file) if has_file(name, data, file) else None


def _of_task(name: str, asked: TfdsAddress) -> TfdsAddress:
    """A task's data set: itself, or in the suite of them all."""
    suite, _, version = asked.name.partition(":")
    if suite == "glue":
        return asked.named(f"glue/{name}" + (f":{version}" if version else ""), asked.split)
    if suite not in (f"glue/{known}" for known in (name, *GLUE[name].also)):
        raise UserError(f"{asked}: not the data of {name}, which is {asked.named(f'glue/{name}')}")
    return asked


def read_glue(name: str, path: Path, reading: Reading = AS_USUAL, *, notes: list[str] | None = None) -> Rows:
    """The rows of an official file, or of a split of TFDS in the file's order; labels as spelled in files, none in a
    test file. No quoting.
    """
    task = _find_task(name)
    if asked := as_tfds_address(path):
        return _read_prepared(task, _of_task(name, asked), reading)
    if not is_file(path) and is_folder(path.parent):
        beside = ", ".join(name for name in names_in(path.parent) if name.endswith(".tsv")) or "no .tsv file"
        raise UserError(f"{path}: no such file; {path.parent} holds {beside}")
    fields = read_plain_table(path, reading)
    is_test = path.stem.startswith(("test", "diagnostic"))  # these have a header in every task
    header = list(task.header) if task.header and not is_test else next(fields, (0, [""]))[1]
    for column in (task.text, task.pair, None if is_test else task.label):
        if column is not None and column not in header:
            raise UserError(
                f"{path}: no column {column!r}; it has {', '.join(map(repr, header))}. Is it {task.folder}?"
            )
    numbers: list[int] = []
    rows = Rows([], None if task.pair is None else [], None if is_test else [], str(path), [], numbers=numbers)
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


def _read_prepared(task: GlueTask, asked: TfdsAddress, reading: Reading) -> Rows:
    texts = task.features or ((task.text,) if task.pair is None else (task.text, task.pair))
    is_test = (asked.split or "").startswith("test")
    path = asked.path(asked.split or "train")
    records = list(read_records(path, (*texts, "label", "idx"), reading))
    records.sort(key=lambda record: record[1]["idx"])  # TFDS shuffles them
    if not records:
        raise UserError(f"{asked}: no rows")
    labels = [record["label"] for _, record in records]
    if task.labels is not None and not is_test:
        for (number, _), label in zip(records, labels, strict=True):
            if label not in task.labels:
                raise UserError(f"{asked} example {number}: label {label!r} is not among {', '.join(task.labels)}")
        labels = [task.spelled[task.labels.index(label)] for label in labels]
    return Rows(
        [record[texts[0]] for _, record in records],
        [record[texts[1]] for _, record in records] if len(texts) > 1 else None,
        None if is_test else [str(label) for label in labels],
        str(asked),
        [number for number, _ in records],
    )


def settle(rows: Rows, task: GlueTask, labels: Sequence[str] | None) -> Rows:
    """Return the rows with numbers for labels: scores, or class ids in the order of `labels`, those of a model."""
    check_classes(task, labels)
    if task.labels is None:
        return with_scores(rows)
    return with_classes(rows, [spell(task, label, labels) for label in labels or ()])


def spell(task: GlueTask, label: str, labels: Sequence[str] | None) -> str:
    """Return a class of a model as the files of a task spell it, by its name: models have orders of their own."""
    check_classes(task, labels)
    return task.spelled[(task.labels or ()).index(label)]


def check_classes(task: GlueTask, labels: Sequence[str] | None) -> None:
    """Raise UserError where the classes of a model are not those of a task, in whatever order."""
    if sorted(labels or ()) != sorted(task.labels or ()):
        ours, theirs = (", ".join(names or ()) or "none, but a score" for names in (task.labels, labels))
        raise UserError(f"{task.folder} has the classes {ours}, the model {theirs}: which is which is not known")


def _find_task(name: str) -> GlueTask:
    if name not in GLUE:
        close = difflib.get_close_matches(name.lower().replace("-", ""), TASKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known tasks: {', '.join(TASKS)}"
        raise UserError(f"unknown task {name!r}; {hint}")
    return GLUE[name]
