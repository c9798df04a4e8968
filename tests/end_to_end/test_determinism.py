"""--deterministic in fine-tuning, on a CPU."""

from runs import write_rows

from bert_jax.cli import main


def test_fine_tuning_is_deterministic_on_a_cpu_anyway(pretrained, tmp_path, capsys):
    for name, seed in (("train", 1), ("dev", 2)):
        write_rows(tmp_path / f"{name}.csv", 12, seed=seed, score=False)
    columns, size = ["--text", "body", "--label", "label"], ["--epochs", "1", "--batch-size", "6", "--max-length", "16"]
    folders = ["--from", str(pretrained), "--data", str(tmp_path), "--output", str(tmp_path / "run")]
    assert main(["finetune", *folders, *columns, *size, "--mesh.data", "1", "--deterministic"]) == 0
    assert "--deterministic changes nothing on a CPU" in capsys.readouterr().err
    assert "deterministic = true" in (tmp_path / "run" / "run.toml").read_text()
