"""What the name of a file says of its content."""

from pathlib import Path, PurePosixPath

from bert_jax.data.formats.addresses import address_of, without_query
from bert_jax.data.formats.compression import NAMES


def suffix_of(name: Path | str) -> tuple[str, str]:
    """Return the suffix of a file and that of its packing: (.csv, .gz) of rows.csv.gz, (.csv, "") of ROWS.CSV.

    Of a web address the query and the fragment are no part of the name: https://host/rows.csv?signature=a.b.
    """
    path = PurePosixPath(without_query(address_of(name)))
    packing = path.suffix.lower() if path.suffix.lower() in NAMES else ""
    return (path.with_suffix("") if packing else path).suffix.lower(), packing


def spellings(suffix: str) -> tuple[str, ...]:
    """Return the suffix alone and with each packing; Parquet and Excel's are packed by themselves."""
    return (suffix,) if suffix in (".parquet", ".xlsx") else (suffix, *(suffix + packing for packing in NAMES))
