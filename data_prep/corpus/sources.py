"""Find the sources of text that inputs name: files, folders, patterns, addresses and prepared data sets."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from bert_jax.data.formats.addresses import disk_and_network_errors, filesystem, protocol_of, size_and_stamp
from bert_jax.data.formats.compression import COMPRESSION_NAMES
from bert_jax.data.formats.encodings import UTF8, find_encoding, marked_encoding
from bert_jax.data.formats.suffixes import suffix_of
from bert_jax.data.formats.tfds import TFDS_PREFIX
from bert_jax.errors import UserError
from data_prep.corpus.input_files import InputFile, list_files
from data_prep.corpus.parquet_files import rows_and_text_bytes
from data_prep.corpus.parts import UNPACKED, Source, SourceFormat, open_bytes
from data_prep.corpus.reader_contract import CorpusOptions, NotedCounter
from data_prep.corpus.tfds_sets import find_prepared

SUFFIX_FORMATS: dict[str, SourceFormat] = {
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}
ONLY_IF_NAMED = ("json", "xlsx")  # skipped in folders, where they are mostly something else than a corpus
SELF_ENCODED = ("xlsx", "parquet")  # formats with a compression and an encoding of their own
READABLE_FORMATS = f"{', '.join(SUFFIX_FORMATS)}, packed {', '.join(COMPRESSION_NAMES)}"
REQUESTS = 16  # files at an address that are opened together
MARK_BYTES = 4  # length of the longest byte order mark


def find_sources(
    inputs: tuple[str, ...], options: CorpusOptions = CorpusOptions(), weights: tuple[float, ...] | None = None
) -> tuple[tuple[Source, ...], NotedCounter]:
    """Return the sources of all inputs, and counts of the files that were skipped.

    Each file is listed once, in the order of the inputs and sorted within an input. Raises UserError if there is no
    text, or if an input with a weight has none of its own.
    """
    sources: dict[str, Source] = {}
    skipped = NotedCounter()
    for number, location in enumerate(inputs):
        weight = weights[number] if weights else None
        for identity, source in _sources_of(location, options, skipped):
            if identity in sources:
                if skipped.record("files_given_twice"):
                    skipped.notes.append(f"{source.path}: given twice")
            else:
                sources[identity] = dataclasses.replace(source, input=number if weights else 0, weight=weight)
    if not sources:
        passed = ", ".join(f"{reason.replace('_', ' ')}: {count}" for reason, count in sorted(skipped.items()))
        raise UserError(f"no text in {', '.join(inputs)}: {passed or 'no files'}. {READABLE_FORMATS} are read")
    if weights and (unused := sorted(set(range(len(inputs))) - {source.input for source in sources.values()})):
        raise UserError(f"{inputs[unused[0]]}: has a weight and no text of its own. Leave it and its weight out")
    return tuple(sources.values()), skipped


def _sources_of(location: str, options: CorpusOptions, skipped: NotedCounter) -> list[tuple[str, Source]]:
    """Return (identity, source) of each source of an input."""
    if location.startswith(TFDS_PREFIX):
        source = find_prepared(location, options)
        return [(source.name, source)]
    files = []
    for file in list_files(location):
        kind = source_format(file.name, options)
        is_named = file.named or suffix_of(location) == suffix_of(file.name)
        if kind is None or (kind[0] in ONLY_IF_NAMED and not is_named):
            named = f"read only where it is named, --input {file.path}"
            problem = f"{file.path}: {f'not one of {READABLE_FORMATS}' if kind is None else named}"
            if file.named:
                hint = " Or pass --documents wikiextractor" if not PurePosixPath(file.name).suffix else ""
                raise UserError(f"{problem}. Rename or convert it.{hint}")
            if skipped.record("files_of_other_kinds"):
                skipped.notes.append(problem)
            continue
        files.append((file, *kind))
    sources = []
    for (file, *_), source in zip(files, _open_sources(files, options), strict=True):
        if not source.extent:
            if skipped.record("files_empty"):
                skipped.notes.append(f"{file.path}: empty")
            continue
        if source.encoding != UTF8 and options.encoding is None:
            skipped.notes.append(f"{source.path}: read as {source.encoding}, as its byte order mark says")
        sources.append((file.identity, source))
    return sources


def source_format(name: str, options: CorpusOptions) -> tuple[SourceFormat, str] | None:
    """Return a file's format and packing by its name, or None if it is not readable."""
    suffix, packing = suffix_of(name)
    if options.documents == "wikiextractor" and suffix in ("", ".txt"):
        return "wikiextractor", packing
    kind = SUFFIX_FORMATS.get(suffix)
    return None if kind is None or (kind in SELF_ENCODED and packing) else (kind, packing)


def _open_sources(files: list[tuple[InputFile, SourceFormat, str]], options: CorpusOptions) -> list[Source]:
    """Return the source of each file. Opens several files at an address together, since each takes a round trip."""

    def open_source(entry: tuple[InputFile, SourceFormat, str]) -> Source:
        file, kind, packing = entry
        return _source(file, kind, packing, options)

    if not files or not protocol_of(files[0][0].path):
        return list(map(open_source, files))
    pool = ThreadPoolExecutor(REQUESTS)
    try:
        return list(pool.map(open_source, files))
    finally:
        pool.shutdown(cancel_futures=True)


def _source(file: InputFile, kind: SourceFormat, packing: str, options: CorpusOptions) -> Source:
    size, stamp = size_and_stamp(file.path)
    rows, text_bytes = 0, size * UNPACKED if packing else size
    if kind == "parquet" and size:
        with disk_and_network_errors(file.path):
            rows, text_bytes = rows_and_text_bytes(file.path, options)
        size = size if rows else 0  # a table without rows counts as empty
    source = Source(
        path=file.path,
        name=file.name,
        format=kind,
        size=size,
        stamp=stamp,
        text_bytes=text_bytes,
        packing=packing,
        rows=rows,
    )
    return source if kind in SELF_ENCODED else dataclasses.replace(source, encoding=_encoding(source, options))


def _encoding(source: Source, options: CorpusOptions) -> str:
    """Return the encoding that the options name, or else that of the file's byte order mark."""
    if options.encoding is not None:
        return find_encoding(options.encoding)
    if not source.size:
        return UTF8
    with disk_and_network_errors(source.path):
        return marked_encoding(_first_bytes(source))


def _first_bytes(source: Source) -> bytes:
    if protocol_of(source.path) and not source.packing:
        system, path = filesystem(source.path)
        return system.cat_file(path, start=0, end=MARK_BYTES)  # an open file would read megabytes ahead
    with open_bytes(source) as stream:
        return stream.read(MARK_BYTES)
