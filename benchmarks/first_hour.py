"""Play the first hour: each command of README.md and docs/*.md as it is typed there, in a fresh folder.

    python benchmarks/first_hour.py [README.md docs/tickets.md ...] [--folder PLAYED] [--full]

What the pages take for granted (a corpus, tickets.csv, GLUE and SQuAD files, downloaded checkpoints) is made first,
from the documentation of the installed packages. A command that would take hours is shortened as SHORTER says; --full
leaves it as it is. What needs another machine, a network or a bucket is passed over as SKIPPED says. Everything else
must end with exit code 0, or 1 where the page shows the line of a mistake; and where the page shows an output, each of
its lines must come out in that order: numbers may differ, [...] stands for anything. Prints a line a command, and at
the end what did not hold.
"""

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import first_hour_files

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {  # pattern -> why
    r"\b(sbatch|kubectl|dask)\b": "needs a cluster",
    r"\b(gs|s3|hdfs|https)://": "needs a network",
    r"\btfds:": "needs a prepared data set",
    r"^hf download": "needs a network",
    r"^make test": "is the suite",
    r"^(python3 -m venv|pip install|source |make demo)": "is timed with the install, see docs/results.md",
}
SHORTER = (  # pattern, replacement: what makes hours into a minute
    (r"(bert-jax pretrain .*--steps) \d+", r"\1 30"),
    (r"(bert-jax pretrain \S+\.toml .*)", r"\1 --steps 30 --model bert-tiny --batch-size 8"),
    (r"--sweep\.paper --seeds 1 2 3", "--sweep.learning-rates 1e-4 3e-4"),
    (r"(bert-jax finetune .*)", r"\1 --epochs 1 --max-length 32"),
)
NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?|\b[0-9a-f]{12,}\b")
FIGURE = r"[-+\w.,]+"  # what a number of the page may have become
ANYTHING = "[...]"


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of commands on a page, and the output that the page shows after it."""

    page: str
    line: int
    commands: list[str]
    output: list[str]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pages", nargs="*", default=["README.md", *sorted(f"docs/{p.name}" for p in pages())])
    arguments.add_argument("--folder", type=Path, default=Path("played"), help="must not exist")
    arguments.add_argument("--full", action="store_true", help="shorten nothing")
    options = arguments.parse_args()
    options.folder.mkdir(parents=True)
    first_hour_files.write(options.folder / "files")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    faults = []
    for page in options.pages:
        folder = options.folder / Path(page).stem
        shutil.copytree(options.folder / "files", folder)
        outputs: dict[str, str] = {}
        for block in blocks(page, (ROOT / page).read_text(encoding="utf-8")):
            faults += play(block, folder, environment, outputs, shorten=not options.full)
    print("\n".join(faults) or "everything held")
    return bool(faults)


def pages() -> list[Path]:
    return list((ROOT / "docs").glob("*.md"))


def blocks(page: str, text: str) -> Iterator[Block]:
    """Yield the blocks of a page that hold commands of the shell, each with the plain block that follows it."""
    fences = list(re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S))
    for i, fence in enumerate(fences):
        commands = typed(fence[2])
        if fence[1] not in ("", "sh") or not any(is_command(command) for command in commands):
            continue
        following = fences[i + 1] if i + 1 < len(fences) else None
        near = following and not text[fence.end() : following.start()].strip()
        shown = following[2].splitlines() if following and near and following[1] in ("", "json", "text") else []
        if any(is_command(line) for line in shown):
            shown = []
        yield Block(page, text.count("\n", 0, fence.start()) + 2, commands, shown)


def typed(block: str) -> list[str]:
    """Return the commands of a block, continued lines joined, comments left out."""
    lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s{2,})#.*", "", line).strip())]


def is_command(line: str) -> bool:
    return (
        re.match(
            r"(\w+=\S+ )*(bert-jax(?! [\w-]+:)|python3?|pip|make|hf|head|tail|curl|for|sbatch|dask|\.venv)\b", line
        )
        is not None
    )


def is_mistake(line: str) -> bool:
    """Return whether a line of output is the one that a verb ends with at a user's mistake."""
    return re.match(r"bert-jax [\w-]+: ", line) is not None


def play(
    block: Block, folder: Path, environment: dict[str, str], outputs: dict[str, str], *, shorten: bool
) -> list[str]:
    """Run the commands of a block, and return what did not hold.

    `outputs` are those of the page so far: one that another command writes again is removed before.
    """
    faults, output = [], ""
    for command in block.commands:
        where = f"{block.page} line {block.line}: {command}"
        why = next((why for pattern, why in SKIPPED.items() if re.search(pattern, command)), None)
        if why or not is_command(command):
            print(f"-  skipped, {why or 'no command'}: {command}", flush=True)
            continue
        if written := re.search(r"--output (\S+)", command):
            if outputs.setdefault(written[1], command) != command:
                remove(folder / written[1])
            outputs[written[1]] = command
        began = time.monotonic()
        for pattern, replacement in SHORTER if shorten else ():
            command = re.sub(pattern, replacement, command)
        end = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output += end.stdout
        print(f"{end.returncode}  {time.monotonic() - began:5.1f} s  {command}", flush=True)
        if end.returncode != (1 if any(map(is_mistake, block.output)) else 0):
            faults.append(f"{where}: exit code {end.returncode}: {end.stdout.strip().splitlines()[-1:]}")
    if output and not faults:
        faults += [
            f"{block.page} line {block.line}: not in the output: {line}" for line in missing(block.output, output)
        ]
    return faults


def remove(path: Path) -> None:
    """Remove the file or folder that an earlier command of the page has written."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def missing(expected: list[str], output: str) -> list[str]:
    """Return the lines of the page that the output does not have, in the page's order."""
    lines = [line for line in expected if line.strip(f" {ANYTHING}")]
    at, absent = 0, []
    for line in lines:
        found = re.compile(pattern(line), re.M).search(output, at)
        if found is None:
            absent.append(line)
        else:
            at = found.end()
    return absent


def pattern(line: str) -> str:
    """Return an expression for a line of output: its words, with any numbers, any blanks, and [...] for anything."""
    parts = []
    for part in line.strip().split(ANYTHING):
        words = [FIGURE.join(re.escape(piece) for piece in NUMBER.sub("\0", word).split("\0")) for word in part.split()]
        parts.append(r"\s*".join(words))
    return ".*".join(parts)


if __name__ == "__main__":
    sys.exit(main())
