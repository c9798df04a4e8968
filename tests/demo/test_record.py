import json

import pytest

from bert_jax.demo.demo_record import open_record
from bert_jax.errors import UserError


def test_interrupted_demo_keeps_its_files_and_seconds(tmp_path):
    record = open_record(tmp_path / "demo", "recipe")
    with pytest.raises(KeyboardInterrupt), record.timed("corpus"):
        raise KeyboardInterrupt
    (tmp_path / "demo" / "data").mkdir()
    again = open_record(tmp_path / "demo", "recipe")
    assert again.stage_seconds.keys() == {"corpus"} and (tmp_path / "demo" / "data").is_dir()
    with again.timed("corpus"):
        pass
    assert again.stage_seconds["corpus"] > record.stage_seconds["corpus"]


@pytest.mark.parametrize(("recipe", "finished"), [("recipe", True), ("another", False)])
def test_demos_that_are_finished_or_of_another_recipe_are_replaced(tmp_path, recipe, finished):
    open_record(tmp_path / "demo", "recipe")
    (tmp_path / "demo" / "vocab").mkdir()
    if finished:
        (tmp_path / "demo" / "results.json").write_text("{}")
    assert open_record(tmp_path / "demo", recipe).stage_seconds == {}
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["demo.json"]


@pytest.mark.parametrize("content", [{"demo.json": {"scenes": []}}, {"notes.txt": "mine"}])
def test_other_folders_are_refused_and_left_alone(tmp_path, content):
    for name, text in content.items():
        (tmp_path / name).write_text(json.dumps(text))
    with pytest.raises(UserError, match="exists and is not empty"):
        open_record(tmp_path, "recipe")
    assert {path.name for path in tmp_path.iterdir()} == set(content)
