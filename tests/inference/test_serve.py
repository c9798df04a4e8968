"""launch/serve.py as a separate process, queried over HTTP."""

import concurrent.futures
import contextlib
import http.client
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from costly import COSTLY
from foreign import write_tiny_bert

import bert_jax
from bert_jax.train.program import Program

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

SERVE = Path(__file__).resolve().parents[2] / "launch" / "serve.py"
LABELS = ("P1", "P2", "P3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "hf"
    write_tiny_bert(path, "sequence", LABELS)
    return path


@contextlib.contextmanager
def serving(folder):
    environment = os.environ | {"PYTHONPATH": str(SERVE.parents[1])}
    command = [sys.executable, str(SERVE), str(folder), "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert "serving at http://127.0.0.1:" in line
        try:
            yield process, int(line.rsplit(":", 1)[1])
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def port(folder):
    with serving(folder) as (_, port):
        yield port


def post(connection, body):
    connection.request("POST", "/", body)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


@pytest.mark.parametrize(
    "body, message",
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
def test_bad_requests_get_an_error_and_the_server_goes_on(port, folder, body, message):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    status, answer = post(connection, body)
    assert status == 400 and message in answer["error"]
    status, answer = post(connection, json.dumps({"texts": ["word1"]}))  # on the same connection
    assert status == 200 and len(answer["answers"]) == 1


def test_the_server_answers_like_predict(port, folder):
    texts = ["word1 word2", "", "word3 naïve"]
    expected = [answer.as_dict() for answer in bert_jax.load(folder).predict(texts)]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    status, answer = post(connection, json.dumps({"texts": texts}, ensure_ascii=False).encode())
    assert (status, [found["label"] for found in answer["answers"]]) == (200, [one["label"] for one in expected])
    for found, one in zip(answer["answers"], expected, strict=True):
        assert found["probabilities"] == pytest.approx(one["probabilities"], abs=1e-5)
        assert all(value == float(f"{value:.6g}") for value in found["probabilities"].values())


def test_the_server_limits_the_size_of_a_request(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413 and "at most" in json.loads(response.read())["error"]


def exchange(port, sent):
    """Return the server's reply to these bytes, until it closes the connection or is silent for a second."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, contextlib.suppress(TimeoutError):
        connection.sendall(sent)
        while part := connection.recv(1 << 16):
            parts.append(part)
            connection.settimeout(1)
    return b"".join(parts)


HIDDEN = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{"texts": ["word1"]'


@pytest.mark.parametrize(
    "head, status",
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", b"200"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", b"400"),
        (b"DELETE / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", b"405"),
        (b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", b"404"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n", b"411"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nContent-Length: 0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +%d\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : %d\r\n\r\n", b"400"),
    ],
)
def test_a_request_hidden_in_a_body_is_not_answered(port, head, status):
    """Behind a proxy that frames requests differently, the answer would go to another client."""
    body = HIDDEN + b"}"
    replies = exchange(port, head % len(body) + body)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", replies)
    assert statuses == [status]


def test_a_burst_of_connections_is_answered_completely(port):
    body = json.dumps({"texts": ["word1 word2"]})

    def ask(_):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        return post(connection, body)[0]

    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        assert set(pool.map(ask, range(200))) == {200}


def test_an_incomplete_character_is_answered(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    assert post(connection, b'{"texts": ["\\ud83d word1"]}')[0] == 200


def test_a_stop_finishes_requests_in_progress(folder):
    with serving(folder) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("POST", "/")
        body = json.dumps({"texts": ["word1"] * 256}).encode()
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(body[:-1])
        time.sleep(0.3)  # so that the request has begun
        process.terminate()
        time.sleep(0.3)
        connection.send(body[-1:])
        assert connection.getresponse().status == 200
        assert process.wait(30) == 0


@pytest.mark.parametrize("kind", ["sequence", pytest.param("token", marks=COSTLY)])
def test_warm_up_computes_the_shapes_of_all_requests(kind, tmp_path, monkeypatch):
    write_tiny_bert(tmp_path / "hf", kind, LABELS if kind == "sequence" else ("O", "B-PER", "I-PER"))
    specification = importlib.util.spec_from_file_location("serve", SERVE)
    serve = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(serve)
    computed, outputs = [], Program.outputs

    def recorded(program, params, batch):
        computed.append(batch["tokens"].shape)
        return outputs(program, params, batch)

    monkeypatch.setattr(Program, "outputs", recorded)
    service = serve.Service(str(tmp_path / "hf"))
    assert list(service.about["labels"]) == (list(LABELS) if kind == "sequence" else ["PER"])
    service.warm_up()
    warm = set(computed)
    for way in ("cut", "mean") if kind == "sequence" else ("windows",):
        service.model.long_texts = way  # of a model trained with --long-texts
        for words in (1, 6, 90):
            for count in (1, 2, 5, 40):
                service.answers(["word1 word2 " * words] * count)
    assert set(computed) == warm


def test_the_server_describes_its_model(port, folder):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    assert json.loads(connection.getresponse().read()) == {"model": str(folder), "labels": list(LABELS)}


def test_serving_a_folder_without_a_model_ends_in_one_line(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(SERVE.parents[1])}
    command = [sys.executable, str(SERVE), str(tmp_path)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 1 and "Traceback" not in process.stderr and str(tmp_path) in process.stderr


@COSTLY
def test_serving_a_model_of_pairs_ends_in_one_line(tmp_path):
    write_tiny_bert(tmp_path / "hf", "span")
    environment = os.environ | {"PYTHONPATH": str(SERVE.parents[1])}
    command = [sys.executable, str(SERVE), str(tmp_path / "hf")]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "only models that read single texts" in process.stderr
