"""launch/serve.py as a process of its own, asked over HTTP."""

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from foreign import write_foreign

import bert_jax

SERVE = Path(__file__).resolve().parents[2] / "launch" / "serve.py"
LABELS = ("P1", "P2", "P3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "hf"
    write_foreign(path, "sequence", LABELS)
    return path


@pytest.fixture(scope="module")
def port(folder):
    environment = os.environ | {"PYTHONPATH": str(SERVE.parents[1])}
    command = [sys.executable, str(SERVE), str(folder), "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert "serving at http://127.0.0.1:" in line
        yield int(line.rsplit(":", 1)[1])
        process.terminate()


def asked(connection, body):
    connection.request("POST", "/", body)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


@pytest.mark.parametrize(
    "body, said",
    [
        (b"word1", "send JSON"),
        (b"[" * 100_000, "send JSON"),
        (b'["word1"]', "send JSON"),
        (b'{"text": "word1"}', "send JSON"),
        (b'{"texts": "word1"}', "not a list"),
        (b'{"texts": ["word1", 3]}', "not a list"),
        (b'{"texts": []}', "texts: 0"),
        (json.dumps({"texts": ["word1"] * 257}).encode(), "texts: 257"),
    ],
)
def test_the_server_says_what_is_wrong_and_goes_on(port, folder, body, said):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    status, answer = asked(connection, body)
    assert status == 400 and said in answer["error"]
    status, answer = asked(connection, json.dumps({"texts": ["word1"]}))  # on the same connection
    assert status == 200 and len(answer["answers"]) == 1


def test_the_server_answers_as_predict_does(port, folder):
    texts = ["word1 word2", "", "word3 naïve"]
    expected = [answer.as_dict() for answer in bert_jax.load(folder).predict(texts)]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    status, answer = asked(connection, json.dumps({"texts": texts}, ensure_ascii=False).encode())
    assert (status, [found["label"] for found in answer["answers"]]) == (200, [one["label"] for one in expected])
    for found, one in zip(answer["answers"], expected, strict=True):
        assert found["probabilities"] == pytest.approx(one["probabilities"], abs=1e-5)


def test_the_server_takes_no_body_of_any_length(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413 and "at most" in json.loads(response.read())["error"]


def test_the_server_says_what_it_serves(port, folder):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    assert json.loads(connection.getresponse().read()) == {"model": str(folder), "labels": list(LABELS)}


def test_a_folder_without_a_model_ends_with_a_line(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(SERVE.parents[1])}
    ended = subprocess.run([sys.executable, str(SERVE), str(tmp_path)], env=environment, capture_output=True, text=True)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr and str(tmp_path) in ended.stderr
