"""bert-jax convert: convert a model from one format to another and compare both sides."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

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
from bert_jax.process_setup import set_up_process
from bert_jax.progress import Progress
from bert_jax.settings.convert import ConvertConfig
from bert_jax.terminal import note, say
from bert_jax.train.checkpoint import parameter_hash
from bert_jax.train.memory import out_of_memory_reported
from bert_jax.train.run import is_run
from bert_jax.wording import article

# The files that a folder is recognised by. They are moved into the target last.
LAST = ("modules.json", "config.json", "bert_config.json", "bert_jax.json", "run.toml")
MAX_NOTED_LABELS = 8
FORMATS_WITHOUT_VECTORS = ("hf", "tf")
FORMATS_WITHOUT_TASK = ("hf", "tf", "stablehlo")
FORMATS_READ_BACK = ("run", "hf", "tf", "sentence-transformers")
WRITERS: dict[str, Callable[[Pretrained, Path, ConvertConfig], None]] = {
    "run": lambda pretrained, folder, config: write_run(pretrained, folder, config),
    "hf": lambda pretrained, folder, config: write_huggingface(pretrained, folder),
    "sentence-transformers": lambda pretrained, folder, config: write_sentence_transformers(pretrained, folder),
    "tf": lambda pretrained, folder, config: write_tf_bert(pretrained, folder),
    "onnx": lambda pretrained, folder, config: _write_onnx(pretrained, folder, config.int8),
    "stablehlo": lambda pretrained, folder, config: _write_stablehlo(pretrained, folder),
}


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The outcome of a conversion.

    pretrained   the model as it was read from the source
    differences  the largest difference of each output; None where no library here runs the other side
    """

    pretrained: Pretrained
    differences: list[OutputDifference] | None


def convert(config: ConvertConfig) -> list[OutputDifference] | None:
    """Convert a model, and return the largest difference of each output between both sides.

    Makes the target completely or not at all. Returns None where no library here runs the other side.
    """
    return run_conversion(config).differences


@out_of_memory_reported("A conversion holds the model two or three times: use a machine with more memory")
def run_conversion(config: ConvertConfig) -> Conversion:
    """Convert a model. Makes the target completely or not at all."""
    check_new_folder(config.target, flag="target")
    if config.int8 and config.to != "onnx":
        raise UserError("--int8 is for --to onnx")
    if (config.pooling or config.normalize) and config.to != "sentence-transformers":
        raise UserError("--pooling and --normalize are for --to sentence-transformers")
    set_up_process()
    with Progress("converting") as progress:
        return _convert(config, progress)


def _convert(config: ConvertConfig, progress: Progress) -> Conversion:
    with progress.doing_now("reading the model"):
        options = ReadOptions(ignore_extra=config.ignore_extra, base=config.base, lowercase=config.lowercase)
        pretrained = _with_vectors(read_model(config.source, options), config)
    to = config.to or ("run" if pretrained.origin.get("format") and not is_run(config.source) else "hf")
    with whole_folder(config.target, last=LAST, flag="target") as folder:
        with progress.doing_now("writing"):
            WRITERS[to](pretrained, folder, config)
        written = as_encoder(pretrained) if to == "sentence-transformers" else pretrained
        if to in FORMATS_READ_BACK:
            with progress.doing_now("reading back"):
                read_back = read_model(folder)
                _require_same_parameters(written, read_back)
            if read_back.tokenizer is not None and (rows := proof_rows(written)):
                encoded = encode_text_pairs(read_back.tokenizer, rows)
                require_same_encodings(written, rows, encoded, f"{config.target} ({to})")
        with progress.doing_now("comparing both sides"):
            differences = _compare(written, to, config.source, folder)
    _note_lost_task(pretrained, to)
    _note_lost_vectors(pretrained, to, config.target)
    _note_lost_head(pretrained, to)
    _note_lost_segments(pretrained, to)
    return Conversion(pretrained, differences)


def _write_onnx(pretrained: Pretrained, folder: Path, int8: bool) -> None:
    from bert_jax.convert.export.onnx_file import quantize_onnx, write_onnx

    write_onnx(pretrained, folder)
    if int8:
        quantize_onnx(folder)


def _write_stablehlo(pretrained: Pretrained, folder: Path) -> None:
    from bert_jax.convert.export.stablehlo import write_stablehlo

    write_stablehlo(pretrained, folder)


def _with_vectors(pretrained: Pretrained, config: ConvertConfig) -> Pretrained:
    """Return the model with the vector configuration that the command asks for."""
    if not (config.pooling or config.normalize):
        return pretrained
    vectors = pretrained.vectors or VectorConfig()
    pooling, normalize = config.pooling or vectors.pooling, config.normalize or vectors.normalize
    return pretrained.changed(vectors=dataclasses.replace(vectors, pooling=pooling, normalize=normalize))


def _note_lost_task(pretrained: Pretrained, to: str) -> None:
    """Note what the target cannot hold of a fine-tuned run's task."""
    if to not in FORMATS_WITHOUT_TASK:
        return
    threshold = pretrained.task.threshold
    if threshold is not None:
        note(
            f"{to} has no place for the threshold {threshold:.4f}, above which a question has no answer: whoever reads "
            "the export must compare the score of [CLS] with it"
        )
    long_texts = pretrained.task.long_texts or "cut"
    if long_texts != "cut":
        note(
            f"{to} has no place for how long texts are read, {long_texts!r} here: whoever reads the export sees their "
            f"first {pretrained.max_length} tokens only, as --long-texts cut. A run folder and onnx keep it"
        )


def _note_lost_vectors(pretrained: Pretrained, to: str, target: Path) -> None:
    """Note what the target cannot hold of the vector configuration, or what was chosen where there is none."""
    vectors = pretrained.vectors
    if vectors is None:
        if to == "sentence-transformers":
            note(f"{pretrained.where} does not say how vectors are made; {target} takes the mean over the tokens")
        return
    if to in FORMATS_WITHOUT_VECTORS:
        lost = [vectors.in_words()]
        if prompts := ", ".join(repr(name) for name, text in vectors.prompts.items() if text):
            lost.append(f"prompts {prompts}")
        if to == "tf":
            lost.append(f"texts cut to {pretrained.vector_length} tokens")
        others = "sentence-transformers, onnx, stablehlo" if pretrained.kind == "encoder" else "sentence-transformers"
        note(f"{to} has no place for how vectors are made: {', '.join(lost)}. {others} and run folders keep it")
    elif to in ("onnx", "stablehlo") and pretrained.kind != "encoder":
        note(
            f"{to} of {article(pretrained.kind)} model has the outputs of its head, and no vectors; "
            "sentence-transformers and run folders give them"
        )
    elif to in ("onnx", "stablehlo") and not vectors.pools_whole_rows:
        note(
            f"{to} has no output sentence_embedding, because the tokens of the prompt are not pooled; `bert-jax embed` "
            "leaves them out"
        )


def _note_lost_head(pretrained: Pretrained, to: str) -> None:
    """Note what the target cannot hold of the head."""
    if to == "sentence-transformers" and pretrained.kind != "encoder":
        note(f"{to} holds the encoder alone: the {pretrained.kind} head of {pretrained.where} is left out. hf keeps it")
    if to != "tf" or pretrained.kind != "sequence":
        return
    lost = []
    # A TensorFlow checkpoint is read back with these.
    problem = REGRESSION if pretrained.outputs == 1 else SINGLE_LABEL
    labels = tuple(f"LABEL_{i}" for i in range(pretrained.outputs))
    if pretrained.problem != problem:
        lost.append(f"the problem, {pretrained.problem}")
    if pretrained.activation != "identity":
        lost.append(f"the activation, {pretrained.activation}")
    if pretrained.labels not in (None, labels):
        lost.append(f"the names {listed(pretrained.labels or (), MAX_NOTED_LABELS)}")
    if lost:
        note(f"tf has no place for {'; '.join(lost)}. hf and run folders keep it")


def _note_lost_segments(pretrained: Pretrained, to: str) -> None:
    """Note that the original code gives pairs two segments where the model's tokenizer gives them one."""
    if to == "tf" and pretrained.tokenizer is not None and pretrained.tokenizer.segments == 1:
        note(
            "tf has no place for a tokenizer with one segment: the original code gives the second text of a pair "
            "segment 1, this model was trained with 0 for both. hf and run folders keep it"
        )


def _require_same_parameters(before: Pretrained, after: Pretrained) -> None:
    """Raise UserError where the target does not read back with the same parameters, bit for bit."""
    if parameter_hash(dict(before.params)) != parameter_hash(dict(after.params)):
        raise UserError("what was written does not read back as it was; is the disk sound? Nothing was left behind")


def _compare(pretrained: Pretrained, to: str, source: Path, target: Path) -> list[OutputDifference] | None:
    """Compare the model with the library whose format is on one of the two sides; None where neither has one."""
    if to in ("onnx", "stablehlo"):
        return against_exported(pretrained, _open_exported(to, target), read_tokenizer(target))
    if to in ("hf", "sentence-transformers"):
        return against_transformers(pretrained.changed(vectors=None), target)
    if pretrained.origin.get("format") == "hf" and not is_run(source):
        model = pretrained.changed(vectors=None)
        if pretrained.origin.get("plain", True):
            return against_transformers(model, encoder_folder(source))
        # transformers would read the source otherwise: unmerged, or with another casing. So it reads a copy.
        with tempfile.TemporaryDirectory(dir=target) as folder:
            write_huggingface(model, Path(folder))
            return against_transformers(model, Path(folder))
    return None


def _open_exported(to: str, folder: Path) -> Exported:
    if to == "onnx":
        from bert_jax.convert.export.onnx_file import OnnxModel

        return OnnxModel(folder)
    from bert_jax.convert.export.stablehlo import StableHLOModel

    return StableHLOModel(folder)


def _print_int8_loss(pretrained: Pretrained, folder: Path) -> None:
    """Print the loss by eight-bit weights on random tokens."""
    from bert_jax.convert.export.onnx_file import ONNX_INT8_MODEL, ONNX_MODEL, OnnxModel, compare_onnx

    batch = random_batch(pretrained)
    models = OnnxModel(folder / ONNX_MODEL), OnnxModel(folder / ONNX_INT8_MODEL)
    full, small = ((folder / name).stat().st_size / 1e6 for name in (ONNX_MODEL, ONNX_INT8_MODEL))
    say(f"{folder / ONNX_INT8_MODEL}: {small:.1f} MB for {full:.1f}; on random tokens, against {ONNX_MODEL}:")
    for name, loss in compare_onnx(*models, batch.tokens, batch.segments, batch.mask).items():
        same = "" if loss.same_argmax is None else f"   same decision {loss.same_argmax:.1%}"
        say(f"  {name:24} largest difference {loss.largest:.2e}   mean {loss.mean:.2e}{same}")
    say("  Score both on your own rows before you serve it: `bert-jax evaluate --model` takes either file.")


def main(config: ConvertConfig) -> int:
    """Convert a model and print the differences between both sides; return the exit code."""
    conversion = run_conversion(config)
    say(f"{config.target}: written and read back")
    if conversion.differences is None:
        say(
            "outputs not compared: no library here runs the other side. pip install 'bert_jax[parity]' compares with HF"
        )
    for item in conversion.differences or ():
        say(f"  {item.name:24} largest difference {item.difference:.2e}   (values to {item.largest:.3g})")
    if config.int8:
        _print_int8_loss(conversion.pretrained, config.target)
    return 0
