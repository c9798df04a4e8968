"""Suffixes of file names: the format and the compression of a file."""

from pathlib import Path, PurePosixPath

from bert_jax.data.formats.addresses import address_of, without_query
from bert_jax.data.formats.compression import COMPRESSION_NAMES


def suffix_of(name: Path | str) -> tuple[str, str]:
    """Return the suffixes of a file's format and compression: (.csv, .gz) for rows.csv.gz, (.csv, "") for ROWS.CSV.

    The query and fragment of a web address are not part of the name: https://host/rows.csv?signature=a.b.
    """
    path = PurePosixPath(without_query(address_of(name)))
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSION_NAMES else ""
    return (path.with_suffix("") if compression else path).suffix.lower(), compression


def spellings(suffix: str) -> tuple[str, ...]:
    """Return the suffix alone and with that of each compression; Parquet and Excel files are compressed themselves."""
    return (
        (suffix,)
        if suffix in (".parquet", ".xlsx")
        else (suffix, *(suffix + compression for compression in COMPRESSION_NAMES))
    )
