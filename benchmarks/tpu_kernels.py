"""Cycles of attention on a TPU, read off the schedule of its compiled kernel.

python benchmarks/tpu_kernels.py                            # BERT-base on a v5e, 64 rows of 512 tokens
python benchmarks/tpu_kernels.py --rows 256 --length 128 --dropout 0 --record

The compiler for TPUs says which instructions each cycle of a kernel starts. The number of cycles, times the programs of
the kernel and the tiles of keys, is its time, unless it waits for the memory. Beside it stand the cycles in which the
matrix unit and the vector unit are busy: a kernel cannot take less than the larger of them. Needs the extra tpu, and no
TPU. Prints a JSON line, and with --record keeps it for the table of docs/speed.md.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tables
from jax.sharding import SingleDeviceSharding

from bert_jax.model.encoder_input import KeyInterval
from bert_jax.model.tpu_attention import heads_of_program, rows_of_program, tile_of, tpu_attention
from bert_jax.planning.topology import parse_topology
from bert_jax.random_bits import DropoutSeeds

KERNELS = ("attention_forward", "attention_backward")
MATRIX_UNIT, VECTOR_UNIT = 0, 2  # columns of the compiler's table
BUNDLE = re.compile(r"\s*0x[0-9a-f]+.*?:\s+(>*)\s*\{")  # a ">" for each loop around it
RESULTS = "tpu_kernels.jsonl"


def compile_attention(options: argparse.Namespace) -> None:
    """Compile attention with its gradient for one chip."""
    sharding = SingleDeviceSharding(parse_topology(options.topology).devices()[0])
    shape = (options.rows, options.length, options.heads, options.head_size)

    def values(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def loss(q: Any, k: Any, v: Any, lengths: Any, first: Any, second: Any, weights: Any) -> Any:
        q, k, v = (part.reshape(shape) for part in (q, k, v))
        seeds = DropoutSeeds([(first, second)]) if options.dropout else None
        out = tpu_attention(q, k, v, KeyInterval(lengths[:, None]), rate=options.dropout, seeds=seeds)
        return jnp.sum(out.reshape(weights.shape).astype(jnp.float32) * weights)

    matrix = (options.rows * options.length, options.heads * options.head_size)
    activations = [values(matrix, jnp.bfloat16)] * 3
    seeds = [values((), jnp.uint32)] * 2
    arguments = *activations, values((options.rows,), jnp.int32), *seeds, values(matrix, jnp.float32)
    jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arguments).compile()


def cycles(folder: Path, kernel: str, programs: int, key_tiles: int) -> dict[str, float]:
    """Return the millions of cycles of a kernel: all, and those in which each unit is busy."""
    (schedule,) = (path for path in folder.glob(f"*{kernel}*final_bundles.txt") if "analysis" not in path.name)
    (utilization,) = folder.glob(f"*{kernel}*final_hlo-static-per-bundle-utilization.txt")
    depths = [len(found[1]) for line in schedule.read_text().splitlines() if (found := BUNDLE.match(line))]
    times = [programs * key_tiles ** (depth - 1) if depth else 1 for depth in depths]  # loops: programs, tiles of keys
    _, _, slots, _, *busy = ([*map(int, re.findall(r"\d+", line))] for line in utilization.read_text().splitlines())

    def of_unit(column: int) -> float:
        started = sum(row[column] * many for row, many in zip(busy, times, strict=False))
        return round(started / slots[column] / 1e6, 3)

    return {"all": round(sum(times) / 1e6, 3), "matrix": of_unit(MATRIX_UNIT), "vector": of_unit(VECTOR_UNIT)}


def table(rows: list[tables.Row]) -> list[str]:
    """Return the lines of the table of docs/speed.md."""
    head = ("topology", "rows", "length", "heads", "dropout", "kernel", "cycles, M", "matrix unit", "vector unit")
    lines = []
    for row in rows:
        for kernel in KERNELS:
            part = row[kernel]
            call = [row[name] for name in ("topology", "rows", "length", "heads", "dropout")]
            versions = [f"{row['jax']}, {row['libtpu']}", row["commit"], row["date"]]
            name = kernel.removeprefix("attention_")
            lines.append([*call, name, part["all"], part["matrix"], part["vector"], *versions])
    return tables.markdown([*head, "jax, libtpu", "commit", "date"], lines)


def main() -> int:
    """Compile attention and count the cycles of its kernels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", default="v5e:1")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--record", action="store_true", help="keep the result, and write the table of docs/speed.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        flags = {"dump_to": folder, "dump_llo_text": "true", "dump_llo_pass_label_regex": ".*final.*"}
        os.environ["LIBTPU_INIT_ARGS"] = " ".join(f"--xla_jf_{name}={value}" for name, value in flags.items())
        jax.config.update("jax_platforms", "cpu")  # the host's own
        compile_attention(options)
        import libtpu

        tile = tile_of(options.length)
        tiles = -(-options.length // tile)
        group = heads_of_program(options.heads, options.head_size)
        programs = options.rows // rows_of_program(options.rows, tile) * options.heads // group * tiles
        result = {
            **{
                name: getattr(options, name) for name in ("topology", "rows", "length", "heads", "head_size", "dropout")
            },
            **{kernel: cycles(Path(folder), kernel, programs, tiles) for kernel in KERNELS},
            "jax": jax.__version__,
            "libtpu": libtpu.__version__,
        }
    print(json.dumps(result))
    if options.record:
        tables.record(RESULTS, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
