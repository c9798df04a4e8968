"""What the inputs stand for: files, folders, patterns, addresses and prepared data sets, as sources of text."""

import dataclasses
from pathlib import PurePosixPath

from bert_jax.data.formats.addresses import disk_and_network_errors, protocol_of, size_and_stamp
from bert_jax.data.formats.compression import COMPRESSION_NAMES
from bert_jax.data.formats.encodings import UTF8, find_encoding, marked_encoding
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.formats.tfds import TFDS_PREFIX
from bert_jax.errors import UserError
from data_prep.corpus.locations import File, list_files
from data_prep.corpus.parquet_files import rows_and_text_bytes
from data_prep.corpus.parts import UNPACKED, Format, Source, open_bytes
from data_prep.corpus.reading import Losses, Reading
from data_prep.corpus.tfds_sets import find_prepared

FORMATS: dict[str, Format] = {
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}
NAMED = ("json", "xlsx")  # read only where the input names them: in folders they are mostly something else
WHOLE = ("xlsx", "parquet")  # not packed, and of an encoding of their own
READ = f"{', '.join(FORMATS)}, packed {', '.join(COMPRESSION_NAMES)}"


def find_sources(
    inputs: tuple[str, ...], reading: Reading = Reading(), weights: tuple[float, ...] | None = None
) -> tuple[tuple[Source, ...], Losses]:
    """The sources of all inputs, each once, in the order of the inputs and sorted in each; and what was passed over."""
    sources: dict[str, Source] = {}
    skipped = Losses()
    for number, given in enumerate(inputs):
        weight = weights[number] if weights else None
        for identity, source in _sources_of(given, reading, skipped):
            if identity in sources:
                if skipped.lose("files_given_twice"):
                    skipped.notes.append(f"{source.path}: given twice")
            else:
                sources[identity] = dataclasses.replace(source, input=number if weights else 0, weight=weight)
    if not sources:
        passed = ", ".join(f"{reason.replace('_', ' ')}: {count}" for reason, count in sorted(skipped.items()))
        raise UserError(f"no text in {', '.join(inputs)}: {passed or 'no files'}. {READ} are read")
    if weights and (unused := sorted(set(range(len(inputs))) - {source.input for source in sources.values()})):
        raise UserError(f"{inputs[unused[0]]}: has a weight and no text of its own. Leave it and its weight out")
    return tuple(sources.values()), skipped


def _sources_of(given: str, reading: Reading, skipped: Losses) -> list[tuple[str, Source]]:
    """(identity, source) of each that an input stands for."""
    if given.startswith(TFDS_PREFIX):
        source = find_prepared(given, reading)
        return [(source.name, source)]
    found = []
    for file in list_files(given):
        kind = format_of(file.name, reading)
        if kind is None or (kind[0] in NAMED and not file.named and suffix_of(given) != suffix_of(file.name)):
            named = f"read only where it is named, --input {file.path}"
            problem = f"{file.path}: {f'not one of {READ}' if kind is None else named}"
            if file.named:
                hint = " Or pass --documents wikiextractor" if not PurePosixPath(file.name).suffix else ""
                raise UserError(f"{problem}. Rename or convert it.{hint}")
            if skipped.lose("files_of_other_kinds"):
                skipped.notes.append(problem)
            continue
        source = _source(file, *kind, reading, skipped)
        if not source.extent:
            if skipped.lose("files_empty"):
                skipped.notes.append(f"{file.path}: empty")
        else:
            found.append((file.identity, source))
    return found


def format_of(name: str, reading: Reading) -> tuple[Format, str] | None:
    """What a file is, by its name, and how it is packed; None where that is nothing that is read."""
    suffix, packing = suffix_of(name)
    if reading.documents == "wikiextractor" and suffix in ("", ".txt"):
        return "wikiextractor", packing
    kind = FORMATS.get(suffix)
    return None if kind is None or (kind in WHOLE and packing) else (kind, packing)


def _source(file: File, kind: Format, packing: str, reading: Reading, skipped: Losses) -> Source:
    size, stamp = size_and_stamp(file.path)
    rows, text_bytes = 0, size * UNPACKED if packing else size
    if kind == "parquet" and size:
        with disk_and_network_errors(file.path):
            rows, text_bytes = rows_and_text_bytes(file.path, reading)
        size = size if rows else 0  # a table without rows is as good as empty
    source = Source(file.path, file.name, kind, size, stamp, text_bytes, packing, rows)
    return source if kind in WHOLE else dataclasses.replace(source, encoding=_encoding(source, reading, skipped))


def _encoding(source: Source, reading: Reading, skipped: Losses) -> str:
    """Return the encoding that is asked for, or that the mark of a file on this machine names."""
    if reading.encoding is not None:
        return find_encoding(reading.encoding)
    if protocol_of(source.path) or not source.size:
        return UTF8  # a file from elsewhere would have to be opened; where it is not UTF-8, reading it says so
    with disk_and_network_errors(source.path), open_bytes(source) as stream:
        encoding = marked_encoding(stream.read(4))
    if encoding != UTF8:
        skipped.notes.append(f"{source.path}: read as {encoding}, as its byte order mark says")
    return encoding
