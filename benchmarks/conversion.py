"""Compare every family and head at full size with transformers, in both directions, and update the table in a document.

python benchmarks/conversion.py docs/conversion.md     (needs the extra `parity`; 20 minutes on two cores)

In: transformers makes and saves a model with random weights, we read and run it. Out: we write that model, transformers
opens and runs it. Differences are the largest absolute ones over a batch of three rows of up to 160 tokens.
"""

import argparse
import datetime
import platform
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import tables
import torch
import transformers

from bert_jax import hosts
from bert_jax.convert.hugging_face.families import FAMILIES, family_of
from bert_jax.convert.hugging_face.family import ARCHITECTURES
from bert_jax.convert.hugging_face.model_folder import read_huggingface, write_huggingface
from bert_jax.convert.hugging_face.weight_files import open_weights
from bert_jax.convert.named_outputs import model_outputs
from bert_jax.convert.proof import compare, transformers_outputs
from bert_jax.convert.proof_batches import random_batch
from bert_jax.model.presets import PRESETS

PRESETS_SHOWN = {
    "bert-base-uncased": "bert",
    "bert-large-uncased": "bert",
    "roberta-base": "roberta",
    "xlm-roberta-base": "xlm-roberta",
    "distilbert-base-uncased": "distilbert",
    "electra-small": "electra",
    "electra-base": "electra",
    "modernbert-base": "modernbert",
    "minilm-l12": "bert",
}


def make(preset: str, head: str, folder: Path) -> None:
    """Save a transformers model with random weights, biases and norms."""
    family = FAMILIES[PRESETS_SHOWN[preset]]
    table = family.write(PRESETS[preset])
    config = transformers.AutoConfig.for_model(table.pop("model_type"), **table)
    torch.manual_seed(0)
    model = getattr(transformers, family.classes + head)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0, 0.1)
    model.save_pretrained(folder)


def row(preset: str, head: str, folder: Path) -> str:
    """Return the table row of one model."""
    make(preset, head, folder / "theirs")
    model = read_huggingface(folder / "theirs")
    batch = random_batch(model)
    ours = model_outputs(model, batch.tokens, batch.segments, batch.mask)
    (folder / "ours").mkdir()
    write_huggingface(model, folder / "ours")
    cells = []
    for side in ("theirs", "ours"):
        comparisons = compare(ours, transformers_outputs(model, folder / side, batch), batch.mask)
        hidden = next(c.difference for c in comparisons if c.name == "last_hidden_state")
        others = [c.difference for c in comparisons if c.name != "last_hidden_state"]
        cells += [f"{hidden:.1e}", f"{max(others):.1e}" if others else ""]
    before, after = open_weights(folder / "theirs"), open_weights(folder / "ours")
    same = set(before) == set(after) and all(
        before.read(name).tobytes() == after.read(name).tobytes() for name in before
    )
    name = FAMILIES[PRESETS_SHOWN[preset]].classes + head
    return f"| {preset} | {name} | {' | '.join(cells)} | {'yes' if same else 'NO'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("document", type=Path)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS_SHOWN))
    arguments = parser.parse_args()
    hosts.set_up_process()
    transformers.utils.logging.disable_progress_bar()
    lines = [
        "| size of | class | hidden, in | outputs, in | hidden, out | outputs, out | tensors equal bit for bit |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for preset in arguments.presets:
        classes = FAMILIES[PRESETS_SHOWN[preset]].classes
        assert family_of(PRESETS[preset]).classes in (classes, "Roberta")
        for head in ARCHITECTURES:
            if not hasattr(transformers, classes + head):
                continue
            folder, start = Path(tempfile.mkdtemp()), time.perf_counter()
            try:
                lines.append(row(preset, head, folder))
            finally:
                shutil.rmtree(folder)
            print(lines[-1], f"{time.perf_counter() - start:.0f} s", flush=True)

    libraries = ", ".join(f"{name} {version(name)}" for name in ("jax", "torch", "transformers"))
    lines += ["", f"{datetime.date.today()}, {platform.machine()} CPU, float32, {libraries}."]
    tables.write_table(arguments.document, "benchmarks/conversion.py", lines)


if __name__ == "__main__":
    main()
