"""bert-jax convert: a model from one format to another, and the proof that nothing changed on the way."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from bert_jax import hosts
from bert_jax.convert.hugging_face.model_folder import read_tokenizer, write_huggingface
from bert_jax.convert.hugging_face.sentence_transformers import encoder_folder, write_sentence_transformers
from bert_jax.convert.proof import Exported, OutputDifference, against_exported, against_transformers
from bert_jax.convert.proof_batches import encode_text_pairs, proof_rows, random_batch, require_same_encodings
from bert_jax.convert.run_folder import write_run
from bert_jax.convert.source import read_model
from bert_jax.convert.tensorflow.tf_bert import write_tf_bert
from bert_jax.errors import UserError, listed
from bert_jax.model.vectors import VectorConfig
from bert_jax.output import check_new_folder, whole_folder
from bert_jax.pretrained import REGRESSION, SINGLE_LABEL, Pretrained, ReadOptions, as_encoder
from bert_jax.progress import Progress
from bert_jax.settings.convert import ConvertConfig
from bert_jax.terminal import note, say
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.memory import out_of_memory_told
from bert_jax.train.run import is_run
from bert_jax.wording import article


@out_of_memory_told("A conversion holds the model two or three times: use a machine with more memory")
def convert(config: ConvertConfig) -> list[OutputDifference] | None:
    """Makes the target, whole or not at all. Returns how far the two sides lie apart, None where that was not run."""
    check_new_folder(config.target, flag="target")
    if config.int8 and config.to != "onnx":
        raise UserError("--int8 is for --to onnx")
    if (config.pooling or config.normalize) and config.to != "sentence-transformers":
        raise UserError("--pooling and --normalize are for --to sentence-transformers")
    hosts.prepare()
    with Progress("converting") as progress:
        return _convert(config, progress)


def _convert(config: ConvertConfig, progress: Progress) -> list[OutputDifference] | None:
    with progress.doing_now("reading the model"):
        pretrained = _with_asked(read_model(config.source, _options(config)), config)
    to = config.to or ("run" if pretrained.origin.get("format") and not is_run(config.source) else "hf")
    with whole_folder(config.target, last=LAST, flag="target") as making:
        with progress.doing_now("writing"):
            WRITERS[to](pretrained, making, config)
        kept = as_encoder(pretrained) if to == "sentence-transformers" else pretrained
        if to in READ_BACK:
            with progress.doing_now("reading back"):
                again = read_model(making)
                _require_same(kept, again)
            if again.tokenizer is not None and (rows := proof_rows(kept)):
                require_same_encodings(kept, rows, encode_text_pairs(again.tokenizer, rows), f"{config.target} ({to})")
        with progress.doing_now("comparing both sides"):
            differences = _prove(kept, to, config.source, making)
    if to in LOSE_THE_TASK and pretrained.task.threshold is not None:
        note(
            f"{to} has no place for the threshold {pretrained.task.threshold:.4f}, above which a question has "
            "no answer: who reads the export compares the score of [CLS] with it",
        )
    _note_lost_vectors(pretrained, to, config.target)
    _note_lost_head(pretrained, to)
    way = pretrained.task.long_texts or "cut"
    if to in LOSE_THE_TASK and way != "cut":
        note(
            f"{to} has no place for how long texts are read, {way!r} here: who reads the export sees their first "
            f"{pretrained.max_length} tokens only, as --long-texts cut. A run folder and onnx keep it",
        )
    return differences


LAST = ("modules.json", "config.json", "bert_config.json", "bert_jax.json", "run.toml")  # by which a model is known
MAX_NOTED_LABELS = 8  # labels in a note
WITHOUT_VECTORS = ("hf", "tf")
LOSE_THE_TASK = ("hf", "tf", "stablehlo")
WRITERS: dict[str, Callable[[Pretrained, Path, ConvertConfig], None]] = {
    "run": lambda pretrained, folder, config: write_run(pretrained, folder, config),
    "hf": lambda pretrained, folder, config: write_huggingface(pretrained, folder),
    "sentence-transformers": lambda pretrained, folder, config: write_sentence_transformers(pretrained, folder),
    "tf": lambda pretrained, folder, config: write_tf_bert(pretrained, folder),
    "onnx": lambda pretrained, folder, config: _write_onnx(pretrained, folder, config.int8),
    "stablehlo": lambda pretrained, folder, config: _write_stablehlo(pretrained, folder),
}
READ_BACK = ("run", "hf", "tf", "sentence-transformers")


def _write_onnx(pretrained: Pretrained, folder: Path, int8: bool) -> None:
    from bert_jax.convert.export.onnx_file import quantize_onnx, write_onnx

    write_onnx(pretrained, folder)
    if int8:
        quantize_onnx(folder)


def _write_stablehlo(pretrained: Pretrained, folder: Path) -> None:
    from bert_jax.convert.export.stablehlo import write_stablehlo

    write_stablehlo(pretrained, folder)


def _options(config: ConvertConfig) -> ReadOptions:
    """Return how the source is to be read."""
    return ReadOptions(config.ignore_extra, config.base, config.lowercase)


def _with_asked(pretrained: Pretrained, config: ConvertConfig) -> Pretrained:
    """Return the model with its vectors made as the command asks for."""
    if not (config.pooling or config.normalize):
        return pretrained
    vectors = pretrained.vectors or VectorConfig()
    pooling, normalize = config.pooling or vectors.pooling, config.normalize or vectors.normalize
    return pretrained.changed(vectors=dataclasses.replace(vectors, pooling=pooling, normalize=normalize))


def _note_lost_vectors(pretrained: Pretrained, to: str, target: Path) -> None:
    """Say what the target cannot hold of how vectors are made, or what it had to be told without being asked."""
    vectors = pretrained.vectors
    if vectors is None:
        if to == "sentence-transformers":
            note(f"{pretrained.where} does not say how vectors are made; {target} says: the mean over the tokens")
        return
    if to in WITHOUT_VECTORS:
        prompts = ", ".join(repr(name) for name, text in vectors.prompts.items() if text)
        lost = [vectors.told(), f"prompts {prompts}" * bool(prompts)]
        lost += [f"texts cut to {pretrained.vector_length} tokens"] * (to == "tf")
        keep = "sentence-transformers, onnx, stablehlo" if pretrained.kind == "encoder" else "sentence-transformers"
        note(
            f"{to} has no place for how vectors are made: {', '.join(filter(None, lost))}. {keep} and run folders keep "
            "it"
        )
    elif to in ("onnx", "stablehlo") and pretrained.kind != "encoder":
        note(
            f"{to} of {article(pretrained.kind)} model gives what its head gives, and no vectors; "
            "sentence-transformers "
            "and run folders give them"
        )
    elif to in ("onnx", "stablehlo") and not vectors.pools_whole_rows:
        note(
            f"{to} has no output sentence_embedding, because the tokens of the prompt are not pooled; `bert-jax embed` "
            "leaves them out"
        )


def _note_lost_head(pretrained: Pretrained, to: str) -> None:
    """Say what the target cannot hold of the head."""
    if to == "sentence-transformers" and pretrained.kind != "encoder":
        note(f"{to} holds the encoder alone: the {pretrained.kind} head of {pretrained.where} is left out. hf keeps it")
    if to != "tf" or pretrained.kind != "sequence":
        return
    problem = REGRESSION if pretrained.outputs == 1 else SINGLE_LABEL  # as tf is read
    numbered = tuple(f"LABEL_{i}" for i in range(pretrained.outputs))
    lost = [
        f"the problem, {pretrained.problem}" * (pretrained.problem != problem),
        f"the activation, {pretrained.activation}" * (pretrained.activation != "identity"),
        f"the names {listed(pretrained.labels or (), MAX_NOTED_LABELS)}" * (pretrained.labels not in (None, numbered)),
    ]
    if any(lost):
        note(f"tf has no place for {'; '.join(filter(None, lost))}. hf and run folders keep it")


def _require_same(before: Pretrained, after: Pretrained) -> None:
    """Raises UserError where reading the target again does not give the same parameters, bit for bit."""
    if parameter_hash(dict(before.params)) != parameter_hash(dict(after.params)):
        raise UserError("what was written does not read back as it was; is the disk sound? Nothing was left behind")


def _prove(pretrained: Pretrained, to: str, source: Path, target: Path) -> list[OutputDifference] | None:
    """Against the library whose folder is on one of the two sides."""
    if to in ("onnx", "stablehlo"):
        return against_exported(pretrained, _open_exported(to, target), read_tokenizer(target))
    if to in ("hf", "sentence-transformers"):
        return against_transformers(pretrained.changed(vectors=None), target)
    if pretrained.origin.get("format") == "hf" and not is_run(source):
        model = pretrained.changed(vectors=None)
        if pretrained.origin.get("plain", True):
            return against_transformers(model, encoder_folder(source))
        with tempfile.TemporaryDirectory(dir=target) as folder:  # as read: merged, or of the casing asked for
            write_huggingface(model, Path(folder))
            return against_transformers(model, Path(folder))
    return None


def _open_exported(to: str, folder: Path) -> Exported:
    if to == "onnx":
        from bert_jax.convert.export.onnx_file import OnnxModel

        return OnnxModel(folder)
    from bert_jax.convert.export.stablehlo import read_stablehlo

    return read_stablehlo(folder)


def _say_int8(pretrained: Pretrained, folder: Path) -> None:
    """Prints what eight bits cost on random tokens."""
    from bert_jax.convert.export.onnx_file import ONNX_INT8_MODEL, ONNX_MODEL, OnnxModel, compare_onnx

    batch = random_batch(pretrained)
    pair = OnnxModel(folder / ONNX_MODEL), OnnxModel(folder / ONNX_INT8_MODEL)
    sizes = [(folder / name).stat().st_size / 1e6 for name in (ONNX_MODEL, ONNX_INT8_MODEL)]
    say(f"{folder / ONNX_INT8_MODEL}: {sizes[1]:.1f} MB for {sizes[0]:.1f}; on random tokens, against {ONNX_MODEL}:")
    for name, lost in compare_onnx(*pair, batch.tokens, batch.segments, batch.mask).items():
        same = "" if lost.same_argmax is None else f"   same decision {lost.same_argmax:.1%}"
        say(f"  {name:24} largest difference {lost.largest:.2e}   mean {lost.mean:.2e}{same}")
    say("  Score both on your own rows before you serve it: `bert-jax evaluate --model` takes either file.")


def main(config: ConvertConfig) -> int:
    """Convert a model and print how far both sides lie apart; return the exit code."""
    differences = convert(config)
    say(f"{config.target}: written and read back")
    if differences is None:
        say("not run on both sides: no other library here runs this. pip install 'bert_jax[parity]' compares with HF")
    for found in differences or ():
        say(f"  {found.name:24} largest difference {found.difference:.2e}   (values to {found.largest:.3g})")
    if config.int8 and config.to == "onnx":
        _say_int8(read_model(config.source, _options(config)), config.target)
    return 0
