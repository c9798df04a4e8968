import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from stories import WORDS, story

from data_prep.settings import ShardsConfig


@pytest.fixture
def vocab(tmp_path: Path) -> str:
    """A vocabulary of the words of `story`, with the control tokens at unusual ids."""
    path = tmp_path / "vocab.txt"
    entries = ["[PAD]", ".", "[UNK]", "z", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    path.write_text("\n".join(entries) + "\n")
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of forty documents in .txt, .txt.gz and .jsonl, and a file that is not text."""
    folder = tmp_path / "corpus"
    (folder / "more").mkdir(parents=True)
    for seed in range(20):
        (folder / f"{seed:02d}.txt").write_text(story(seed))
    for seed in range(20, 30):
        (folder / "more" / f"{seed}.txt.gz").write_bytes(gzip.compress(story(seed).encode(), mtime=0))
    lines = "".join(json.dumps({"text": story(seed)}) + "\n" for seed in range(30, 40))
    (folder / "notes.jsonl").write_text(lines)
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture
def configure(tmp_path: Path, corpus: Path, vocab: str) -> Callable[..., ShardsConfig]:
    """A function that returns settings for `corpus`, with many small parts."""

    def settings_for(output: str = "shards", **changes: object) -> ShardsConfig:
        settings: dict = {
            "input": (str(corpus),),
            "tokenizer": vocab,
            "output": str(tmp_path / output),
            "length": 31,
            "dupe_factor": 2,
            "held_out": 0.2,
            "part_mb": 0.01,
            "workers": 1,
        }
        return ShardsConfig(**settings | changes)

    return settings_for
