"""Advice for paths where no model can be read. Standard library only."""

from pathlib import Path

from bert_jax.errors import listed

MODEL_FOLDER = "the folder with its config.json and model.safetensors"
ADVICE = {  # by suffix of the file
    ".gguf": f"weights of llama.cpp, mostly quantised, which are not read. Take the original model, {MODEL_FOLDER}",
    ".h5": "weights of Keras, which are not read. In transformers 4, from_pretrained(FOLDER, from_tf=True) opens them "
    "and save_pretrained writes safetensors",
    ".msgpack": "weights of Flax, which are not read. In transformers 4, from_pretrained(FOLDER, from_flax=True) opens "
    "them and save_pretrained writes safetensors",
    ".onnx": "a graph of another program, whose outputs nothing describes. Take the model that it was made from, "
    f"{MODEL_FOLDER}, or a folder of `bert-jax convert --to onnx`",
    ".ot": f"weights of rust-bert, which are not read. Take the original model, {MODEL_FOLDER}",
    ".tflite": f"a graph for phones, which is not read. Take the model that it was made from, {MODEL_FOLDER}",
    ".mlmodel": f"a graph of Core ML, which is not read. Take the model that it was made from, {MODEL_FOLDER}",
    ".pb": f"a graph of TensorFlow, which is not read. Take the model that it was made from, {MODEL_FOLDER}",
    ".xml": f"perhaps a graph of OpenVINO, which is not read. Take the model that it was made from, {MODEL_FOLDER}",
    ".pt": "a file of torch. Save the model with save_pretrained, which writes its config.json, too",
    ".pth": "a file of torch. Save the model with save_pretrained, which writes its config.json, too",
    ".ckpt": "a file of torch or Lightning. Save the model with save_pretrained, which writes its config.json, too",
    ".safetensors": "weights alone. Name their folder, with a config.json beside them",
    ".bin": "weights alone. Name their folder, with a config.json beside them",
}
HUB, SNAPSHOTS = "models--", "snapshots"


def file_advice(folder: Path) -> str:
    """Return advice for the first file of a known format in a folder without readable weights, or an empty text."""
    files = sorted(path for path in folder.iterdir() if path.suffix in ADVICE)
    return f"{files[0].name} is {ADVICE[files[0].suffix]}" if files else ""


def hub_snapshot(path: Path) -> Path | None:
    """Return the snapshot in a Hub cache folder of one model (models--ORGANISATION--NAME).

    Prefers the snapshot of the branch main, then the newest. None where `path` is no such folder.
    """
    root = path.parent if path.name == SNAPSHOTS else path
    if not (root / SNAPSHOTS).is_dir():
        return None
    snapshots = {snapshot.name: snapshot for snapshot in sorted((root / SNAPSHOTS).iterdir()) if snapshot.is_dir()}
    main = root / "refs" / "main"
    if main.is_file() and main.stat().st_size < 200 and (name := main.read_text(errors="replace").strip()) in snapshots:
        return snapshots[name]
    return max(snapshots.values(), key=lambda snapshot: snapshot.stat().st_mtime, default=None)


def advice(path: Path) -> str:
    """Return what lies at `path` and which path to name instead, or an empty text where nothing is known about it."""
    if path.is_file():
        return ADVICE.get(path.suffix, "")
    if snapshot := hub_snapshot(path):
        return f"the Hub's cache of a model. Name its snapshot: {snapshot}"
    models = sorted(entry.name for entry in path.glob(f"{HUB}*") if entry.is_dir())
    if models:
        return f"a cache of the Hub. Name the snapshot of one of its models: {listed(models)}"
    return file_advice(path)
