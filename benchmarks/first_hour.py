"""Play the first hour: each command of README.md and docs/*.md as it is typed there, in a fresh folder for each page.

    python benchmarks/first_hour.py [README.md docs/tickets.md ...] [--folder PLAYED] [--record]

What the pages take for granted (a corpus, tickets.csv, GLUE and SQuAD files, downloaded checkpoints) is made first, by
first_hour_files.py: the text is the documentation of the installed packages, the encoders are two layers of width 32
with random weights. A command that would take hours is shortened as SHORTER says, and one that cannot be played here is
skipped as SKIPPED says. Every other command must end with exit code 0, or 1 where the page shows the line of a mistake.
first_hour_outputs.py compares the output that a page shows with the output that came.

Prints a line for each command, each line of output that is not the same, and at the end what did not hold. --record
writes the pages into benchmarks/results/first_hour.jsonl (each command and each line of output, on the page and as
played), and the table in docs/benchmarks.md.
"""

import argparse
import dataclasses
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import first_hour_files
import tables
from first_hour_outputs import Line, compare, is_mistake, machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "first_hour.jsonl"
SKIPPED = {  # pattern -> why
    r"^(python3 -m venv|pip install|source |make )": "an install",
    r"^(hf download)": "needs a network",
    r"\b(sbatch|kubectl)\b": "needs a cluster",
    r"\btfds:glue\b": "needs a prepared data set",
    r"\bbert-jax plan .*--topology (?!cpu)": "needs the compiler of another chip",
}
SHORTER = (  # pattern, replacement: what makes hours into a minute
    (r"(bert-jax pretrain .*--steps) \d{3,}", r"\1 30"),
    (r"(bert-jax pretrain (?!bert-base)\S+\.toml .*)", r"\1 --steps 30 --model shape.toml --batch-size 16"),
    (r"(--save-every) \d{3,}", r"\1 10"),
    (r"(--decay-from) \d{3,}", r"\1 20"),
)
WHOLE_PYTHON = ("README.md", "docs/python.md", "docs/tickets.md")  # pages whose Python can be played
GIVEN = """
import pandas, bert_jax
rows = pandas.read_csv("tickets.csv")
frame, dev_frame = rows[:120], rows[120:160]
texts, labels = list(frame["text"]), list(frame["queue"])
"""  # names that the Python of a page uses
START_SECONDS = 90  # until a server that runs beside the commands says something


@dataclasses.dataclass(frozen=True)
class Block:
    """The commands of a block on a page, and the output that the page shows after it."""

    page: str
    line: int
    commands: list[str]
    output: list[str]
    language: str = "sh"


@dataclasses.dataclass
class Played:
    """A command with its outcome: the reason it was skipped, or how it was typed and ended."""

    page: str
    line: int
    command: str
    skipped: str = ""
    shortened: str = ""
    exit_code: int | None = None
    seconds: float | None = None
    date: str = dataclasses.field(default_factory=lambda: str(datetime.date.today()))
    machine: str = dataclasses.field(default_factory=machine)


class Player:
    """A folder in which the commands of one page are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[Played] = []
        self.lines: list[Line] = []
        self.faults: list[str] = []
        self._environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self._environment |= {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
        self._servers: list[subprocess.Popen[str]] = []
        self._outputs: dict[str, str] = {}

    def play(self, block: Block) -> None:
        """Run the commands of a block and compare their output with the page's."""
        output, mistake = "", any(map(is_mistake, block.output))
        for command in block.commands:
            played = Played(block.page, block.line, command)
            self.commands.append(played)
            played.skipped = next((why for pattern, why in SKIPPED.items() if re.search(pattern, command)), "")
            if played.skipped:
                print(f"-  skipped, {played.skipped}: {command}", flush=True)
                continue
            began = time.monotonic()
            played.exit_code, said = self._run(played, block.language)
            played.seconds = round(time.monotonic() - began, 1)
            output += said
            print(f"{played.exit_code}  {played.seconds:5.1f} s  {first_line(command)}", flush=True)
            if played.exit_code != int(mistake):
                last = said.strip().splitlines()[-1:]
                self.faults.append(
                    f"{block.page} line {block.line}: {first_line(command)}: exit code {played.exit_code}: {last}"
                )
        if output:
            output = output.replace(str(Path.home()), "~")
            self.lines += compare(block.page, block.line, block.output, output)

    def _run(self, played: Played, language: str) -> tuple[int, str]:
        command = played.command
        written = re.search(r"^bert-jax .*--output (\w\S*)|(?<!\w)output=\"(\S+)\"", command)
        if output := written and (written[1] or written[2]):  # the page's, not one that the files brought
            if self._outputs.get(output) != command:
                remove(self.folder / output)
            self._outputs[output] = command
        if language == "python":
            return self._finish([sys.executable, "-c", GIVEN + command])
        command = shorter(command)
        played.shortened = command if command != played.command else ""
        if command.endswith("&"):
            return self._start(command.removesuffix("&"))
        return self._finish(["bash", "-c", command])

    def _finish(self, command: list[str]) -> tuple[int, str]:
        end = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return end.returncode, end.stdout

    def _start(self, command: str) -> tuple[int, str]:
        """Start a server, and return when it has printed something."""
        said = self.folder / f".server-{len(self._servers)}"
        with said.open("w") as file:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environment,
                stdout=file,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        self._servers.append(server)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and server.poll() is None and not said.stat().st_size:
            time.sleep(0.2)
        return server.poll() or 0, said.read_text()

    def close(self) -> None:
        """Stop the servers."""
        for server in self._servers:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pages", nargs="*", default=["README.md", *sorted(f"docs/{p.name}" for p in pages())])
    arguments.add_argument("--folder", type=Path, default=Path("played"), help="where to play")
    arguments.add_argument("--record", action="store_true", help="write the record and the table")
    options = arguments.parse_args()
    files = options.folder / "files"
    if not files.exists():
        first_hour_files.write(files, ROOT)
    commands: list[Played] = []
    lines: list[Line] = []
    faults: list[str] = []
    for page in options.pages:
        player = Player(options.folder / Path(page).stem)
        remove(player.folder)
        shutil.copytree(files, player.folder, symlinks=True)
        try:
            for block in blocks(page, (ROOT / page).read_text(encoding="utf-8")):
                player.play(block)
        finally:
            player.close()
        commands, lines, faults = commands + player.commands, lines + player.lines, faults + player.faults
        for line in player.lines:
            if line.verdict not in ("", "same"):
                print(f"{line.page} line {line.line}: {line.verdict}\n  page    {line.shown}\n  played  {line.played}")
    faults += [f"{line.page} line {line.line}: not in the output: {line.shown}" for line in lines if not line.verdict]
    print("\n".join(faults) or "everything held")
    if options.record:
        record(commands, lines)
    return bool(faults)


def record(commands: list[Played], lines: list[Line]) -> None:
    """Write what was played into the record, in place of what it holds of the same pages, and renew the table."""
    played = {command.page for command in commands}
    rows = [row for row in tables.read_rows(RESULTS) if row["page"] not in played]
    commands = [Played(**row) for row in rows if "command" in row] + commands
    lines = [Line(**row) for row in rows if "shown" in row] + lines
    commands.sort(key=lambda command: command.page)
    rows = [*map(dataclasses.asdict, commands), *map(dataclasses.asdict, sorted(lines, key=lambda line: line.page))]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tables.RESULTS / RESULTS).write_text(text, encoding="utf-8")
    tables.update(RESULTS)


def pages() -> list[Path]:
    return list((ROOT / "docs").glob("*.md"))


def blocks(page: str, text: str) -> Iterator[Block]:
    """Yield the blocks of a page that hold commands (```sh) or Python, each with the plain block that follows it."""
    fences = list(re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S))
    for i, fence in enumerate(fences):
        if fence[1] != "sh" and not (fence[1] == "python" and page in WHOLE_PYTHON):
            continue
        following = fences[i + 1] if i + 1 < len(fences) else None
        near = following and not text[fence.end() : following.start()].strip()
        shown = following[2].splitlines() if following and near and following[1] in ("", "json", "text") else []
        commands = typed(fence[2]) if fence[1] == "sh" else [fence[2]]
        yield Block(page, text.count("\n", 0, fence.start()) + 2, commands, shown, fence[1])


def typed(block: str) -> list[str]:
    """Return the commands of a block, continued lines joined, comments left out."""
    lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s{2,})#.*", "", line).strip())]


def shorter(command: str) -> str:
    """Return the command with its hours made into a minute, as SHORTER says."""
    for pattern, replacement in SHORTER:
        command = re.sub(pattern, replacement, command)
    return command


def first_line(command: str) -> str:
    """Return the command, or the first line of a Python block."""
    return command.strip().splitlines()[0]


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
