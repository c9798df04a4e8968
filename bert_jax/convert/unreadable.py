"""What lies at a path where no model can be read, and what it takes to read it. Standard library only."""

from pathlib import Path

from bert_jax.errors import listed

MODEL_FOLDER = "the folder with its config.json and model.safetensors"
FILES = {
    ".gguf": f"weights of llama.cpp, mostly quantised, which are not read. Take the original model, {MODEL_FOLDER}",
    ".h5": "weights of Keras, which are not read. In transformers 4, from_pretrained(FOLDER, from_tf=True) opens them "
    "and save_pretrained writes safetensors",
    ".msgpack": "weights of Flax, which are not read. In transformers 4, from_pretrained(FOLDER, from_flax=True) opens "
    "them and save_pretrained writes safetensors",
    ".onnx": f"a graph of another program, of which nobody says what it gives. Take what it was made from, {MODEL_FOLDER}, "
    "or a folder of `bert-jax convert --to onnx`",
    ".ot": f"weights of rust-bert, which are not read. Take the original model, {MODEL_FOLDER}",
    ".tflite": f"a graph for phones, which is not read. Take what it was made from, {MODEL_FOLDER}",
    ".mlmodel": f"a graph of Core ML, which is not read. Take what it was made from, {MODEL_FOLDER}",
    ".pb": f"a graph of TensorFlow, which is not read. Take what it was made from, {MODEL_FOLDER}",
    ".xml": f"a graph of OpenVINO, perhaps, which is not read. Take what it was made from, {MODEL_FOLDER}",
    ".pt": "a file of torch. Save the model with save_pretrained, which writes its config.json, too",
    ".pth": "a file of torch. Save the model with save_pretrained, which writes its config.json, too",
    ".ckpt": "a file of torch or Lightning. Save the model with save_pretrained, which writes its config.json, too",
    ".safetensors": "weights alone. Name their folder, with a config.json beside them",
    ".bin": "weights alone. Name their folder, with a config.json beside them",
}
HUB, SNAPSHOTS = "models--", "snapshots"


def lone_files(folder: Path) -> str:
    """Say of the files in a folder without readable weights what they are and need; empty where none is known."""
    found = sorted(path for path in folder.iterdir() if path.suffix in FILES)
    return f"{found[0].name} is {FILES[found[0].suffix]}" if found else ""


def hub_snapshot(path: Path) -> Path | None:
    """Return the snapshot of the Hub's cache of one model (models--ORGANISATION--NAME), the one of main where there is.

    None where `path` is no such folder.
    """
    root = path.parent if path.name == SNAPSHOTS else path
    if not (root / SNAPSHOTS).is_dir():
        return None
    snapshots = {snapshot.name: snapshot for snapshot in sorted((root / SNAPSHOTS).iterdir()) if snapshot.is_dir()}
    main = root / "refs" / "main"
    if main.is_file() and main.stat().st_size < 200 and (name := main.read_text(errors="replace").strip()) in snapshots:
        return snapshots[name]
    return max(snapshots.values(), key=lambda snapshot: snapshot.stat().st_mtime, default=None)


def what_it_needs(path: Path) -> str:
    """Say what lies at `path`, where that is known to be no model, and what to name instead; else an empty text."""
    if path.is_file():
        return FILES.get(path.suffix, "")
    if snapshot := hub_snapshot(path):
        return f"the Hub's cache of a model. Name its snapshot: {snapshot}"
    models = sorted(entry.name for entry in path.glob(f"{HUB}*") if entry.is_dir())
    if models:
        return f"a cache of the Hub. Name the snapshot of one of its models: {listed(models)}"
    return lone_files(path)
