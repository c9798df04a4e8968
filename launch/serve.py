"""A fine-tuned model of texts behind HTTP, with Python's own server.

    python launch/serve.py exported/ --port 8000
    curl -d '{"texts": ["The export has hung since noon."]}' http://127.0.0.1:8000

The model is anything that `bert_jax.load` opens: an ONNX folder or file, a run folder, a Hugging Face folder. The texts
of one request are one batch. Requests wait for each other, because one batch already takes every core. GET answers
what the model is, for a health check. It has no TLS and no login: it belongs behind a proxy that has both.
"""

import argparse
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import bert_jax

MOST_TEXTS = 256  # of one request
MOST_BYTES = 1 << 20
SECONDS_OF_SILENCE = 60  # after which a connection is closed


class Server(ThreadingHTTPServer):
    """Answers with one model, a request at a time."""

    def __init__(self, path: str, host: str, port: int) -> None:
        self.model, self.turn = bert_jax.load(path), threading.Lock()
        self.about = {"model": path, "labels": self.model.labels}
        self.model.predict(["warm"])
        super().__init__((host, port), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"  # connections stay open
    timeout = SECONDS_OF_SILENCE
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.reply(200, self.server.about)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True  # the body is still there, unread
            self.reply(413, {"error": f"Content-Length {length or 'missing'}: at most {MOST_BYTES} bytes"})
            return
        try:
            texts = texts_of(self.rfile.read(int(length)))
        except ValueError as error:
            self.reply(400, {"error": str(error)})
            return
        with self.server.turn:
            answers = self.server.model.predict(texts)
        self.reply(200, {"answers": [answer.as_dict() for answer in answers]})

    def reply(self, status: int, message: dict[str, Any]) -> None:
        body = json.dumps(message, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: texts of customers do not belong in logs, and the proxy counts."""


def texts_of(body: bytes) -> list[str]:
    """The texts of a request; raises ValueError, which says what is wrong, for anything else."""
    try:
        texts = json.loads(body)["texts"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError('send JSON: {"texts": ["...", "..."]}') from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("texts: not a list of strings")
    if not 1 <= len(texts) <= MOST_TEXTS:
        raise ValueError(f"texts: {len(texts)}, of which there must be 1 to {MOST_TEXTS}")
    return texts


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=8000)
    options = arguments.parse_args()
    try:
        server = Server(options.model, options.host, options.port)
    except bert_jax.UserError as error:
        raise SystemExit(str(error)) from None
    print(f"{options.model}: serving at http://{options.host}:{server.server_port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
