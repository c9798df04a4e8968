"""Damage checkpoints of a pre-training of several processes, and start it again each time.

    python benchmarks/damage.py SHARDS FOLDER --flips 100 --truncations 50 --starts 20

A run is made to its end. Then, again and again, a copy of it that lacks its last steps gets one bit of one file of its
newest checkpoint flipped, or that file cut short, and the same command is started by all processes. Each time it has to
end with code 0 and the parameters of the undamaged run, bit for bit. A damaged checkpoint has to be set aside whole,
and the one before it has to stay. `--starts` is the number of first starts: new runs of two steps, all of which have to
end with code 0. Prints one line for each damage, and a JSON line with the result.
"""

import argparse
import json
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

from kills import MODEL, Job, wait_for_end, wait_for_success

STEPS = 60  # with checkpoints after 20 and 40
BEFORE, NEWEST = 20, 40


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


def parameters(run: Path) -> str:
    return json.loads((run / "result.json").read_text())["parameters_sha256"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--truncations", type=int, default=50)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    (options.folder / "model.toml").write_text(MODEL)
    rng = random.Random(options.seed)
    job = Job(shards=options.shards, folder=options.folder, processes=options.processes, steps=STEPS, mesh=())
    undamaged, copy = options.folder / "undamaged", options.folder / "damaged"
    assert wait_for_success(job.start(undamaged))
    counts: Counter[str] = Counter()
    kinds = ["flip"] * options.flips + ["truncation"] * options.truncations
    rng.shuffle(kinds)
    for kind in kinds:
        unfinished_copy(undamaged, copy)
        newest = copy / "checkpoints" / str(NEWEST)
        sound = files_of(newest)
        file = newest / rng.choice(sorted(name for name, content in sound.items() if content))
        what = damage(file, rng, kind)
        damaged = files_of(newest)
        codes = wait_for_end(job.start(copy))
        aside = copy / "checkpoints" / f"{NEWEST}.damaged"
        problems = [
            *[f"code {code}" for code in codes if code != 0],
            *(["other parameters"] if codes == [0] * len(codes) and parameters(copy) != parameters(undamaged) else []),
            *(["the damaged checkpoint is not whole"] if aside.exists() and files_of(aside) != damaged else []),
            *(["a sound checkpoint is gone"] if not (copy / "checkpoints" / str(BEFORE)).exists() else []),
        ]
        outcome = "set aside" if aside.exists() else "no array of it was damaged"
        counts[f"{kind}: {', '.join(problems) or outcome}"] += 1
        print(f"{what}: {', '.join(problems) or outcome}", flush=True)
    for number in range(options.starts):
        job = Job(shards=options.shards, folder=options.folder, processes=options.processes, steps=2, mesh=())
        codes = wait_for_end(job.start(options.folder / f"start-{number}"))
        counts["first start: " + ("sound" if codes == [0] * len(codes) else f"codes {codes}")] += 1
    print(json.dumps({"processes": options.processes, **dict(sorted(counts.items()))}))
    if any("code" in name or "other" in name or "not whole" in name or "gone" in name for name in counts):
        sys.exit(1)


if __name__ == "__main__":
    main()
