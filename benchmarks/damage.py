"""Damage checkpoints of a pre-training of several processes, and let it go on each time.

    python benchmarks/damage.py SHARDS FOLDER --flips 100 --truncations 50 --commands 20 --starts 20

A run is made to its end. Then, again and again, a copy of it that lacks its last steps gets one bit of one file of its
newest checkpoint flipped, or that file cut short, and all processes go on with it. A damaged checkpoint has to be set
aside whole, and the one before it has to stay.

`--commands` of the tries start the command anew in all processes: they have to end with code 0 and the parameters of
the undamaged run, bit for bit. In the others, processes that have joined once restore the copy as a resumed run does
(restoring.py): all have to get the same step, with the parameters and the optimizer state that the undamaged run has
there, bit for bit. `--starts` is the number of first starts: new runs of two steps, by the command, all of which have
to end with code 0. Prints one line for each damage, and a JSON line with the result.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from process_job import Job, job_of, job_options, parameters, wait_for_end, wait_for_success
from restoring import RestoringProcesses

STEPS, SAVE_EVERY = 6, 2
BEFORE, NEWEST = 2, 4  # the checkpoints of an unfinished copy


def damage(file: Path, rng: random.Random, kind: str) -> str:
    """Flip a bit of a file, or cut it short, and return what was done."""
    content = bytearray(file.read_bytes())
    if kind == "truncation":
        size = rng.randrange(len(content))
        file.write_bytes(content[:size])
        return f"{file.name} cut from {len(content)} to {size} bytes"
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    content[place] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {place} of {file.name} flipped"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def unfinished_copy(run: Path, copy: Path) -> None:
    """Copy a finished run as it was before its last checkpoint."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    (copy / "result.json").unlink()
    shutil.rmtree(copy / "checkpoints" / str(STEPS))


def new_copy(undamaged: Path, copy: Path, rng: random.Random, kind: str) -> tuple[str, dict[str, bytes]]:
    """Make an unfinished copy of the run and damage its newest checkpoint. Returns what was done, and its files now."""
    unfinished_copy(undamaged, copy)
    newest = copy / "checkpoints" / str(NEWEST)
    file = newest / rng.choice(sorted(name for name, content in files_of(newest).items() if content))
    return damage(file, rng, kind), files_of(newest)


def is_aside(copy: Path) -> bool:
    return (copy / "checkpoints" / f"{NEWEST}.damaged").exists()


def folder_problems(copy: Path, damaged: dict[str, bytes]) -> list[str]:
    """Return what is wrong with the checkpoints of a copy that has gone on."""
    checkpoints = copy / "checkpoints"
    lost = is_aside(copy) and files_of(checkpoints / f"{NEWEST}.damaged") != damaged
    problems = ["the damaged checkpoint is not whole"] if lost else []
    return problems if (checkpoints / str(BEFORE)).exists() else [*problems, "a sound checkpoint is gone"]


def try_command(job: Job, undamaged: Path, copy: Path) -> list[str]:
    """Go on with a copy by the command. Returns what is wrong with its end."""
    codes = wait_for_end(job.start(copy))
    if codes != [0] * len(codes):
        return [f"codes {codes}"]
    return ["other parameters"] if parameters(copy) != parameters(undamaged) else []


def try_restoring(processes: RestoringProcesses, expected: dict[int, str], copy: Path) -> list[str]:
    """Restore a copy in processes that wait for it. Returns what is wrong with the states."""
    answers = processes.restore(copy)
    right = expected[BEFORE if is_aside(copy) else NEWEST]
    return [f"state {answer}, not {right}" for answer in answers if answer != right]


def states_by_step(processes: RestoringProcesses, undamaged: Path, copy: Path) -> dict[int, str]:
    """Return what restoring says of the undamaged checkpoints."""
    states = {}
    for step in (NEWEST, BEFORE):
        unfinished_copy(undamaged, copy)
        if step == BEFORE:
            shutil.rmtree(copy / "checkpoints" / str(NEWEST))
        (answer,) = set(processes.restore(copy))
        assert answer is not None and answer.startswith(f"{step} "), answer
        states[step] = answer
    return states


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--truncations", type=int, default=50)
    parser.add_argument("--commands", type=int, default=20, help="tries that start the command anew")
    parser.add_argument("--starts", type=int, default=20)
    options = job_options(parser)
    rng = random.Random(options.seed)
    job = job_of(options, steps=STEPS, save_every=SAVE_EVERY)
    undamaged, copy = options.folder / "undamaged", options.folder / "damaged"
    assert wait_for_success(job.start(undamaged))
    processes = RestoringProcesses(job, undamaged)
    expected = states_by_step(processes, undamaged, copy)
    counts: Counter[str] = Counter()
    wrong = 0
    kinds = ["flip"] * options.flips + ["truncation"] * options.truncations
    rng.shuffle(kinds)
    for number, kind in enumerate(kinds, 1):
        what, damaged = new_copy(undamaged, copy, rng, kind)
        begin = time.monotonic()
        way = "command" if number <= options.commands else "restored"
        if way == "command":
            problems = try_command(job, undamaged, copy)
        else:
            problems = try_restoring(processes, expected, copy)
        problems += folder_problems(copy, damaged)
        wrong += bool(problems)
        outcome = ", ".join(problems) or ("set aside" if is_aside(copy) else "no part of the seal")
        counts[f"{kind}, {way}: {outcome}"] += 1
        print(f"{number:3} {time.monotonic() - begin:5.1f} s  {way}: {what}: {outcome}", flush=True)
    processes.close()
    short = job_of(options, steps=2, save_every=SAVE_EVERY)
    for number in range(options.starts):
        codes = wait_for_end(short.start(options.folder / f"start-{number}"))
        is_sound = codes == [0] * len(codes)
        wrong += not is_sound
        counts["first start: " + ("sound" if is_sound else f"codes {codes}")] += 1
    print(json.dumps({"processes": options.processes, "wrong": wrong, **dict(sorted(counts.items()))}))
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
