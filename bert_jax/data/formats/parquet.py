"""Opening of Parquet files, local or at an address."""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from bert_jax.data.formats.addresses import open_file
from bert_jax.errors import UserError, first_line

BUFFER_BYTES = 1 << 20  # read ahead of each column; without it, or with pre_buffer, a whole row group is in memory


@contextlib.contextmanager
def opened_parquet(path: str) -> Iterator[Any]:
    """Open a file as a pyarrow ParquetFile. Raises UserError for damaged bytes, also while it is read."""
    import pyarrow

    try:
        with open_file(path) as stream, _parquet_file(stream) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: not a whole Parquet file ({first_line(error)}). Fetch it again, or leave it out"
        ) from None


def _parquet_file(stream: BinaryIO) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(
        stream, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
    )
