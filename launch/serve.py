"""Serve a fine-tuned model of texts over HTTP, as an ASGI application on uvicorn.

    pip install 'bert_jax[serve]'
    python launch/serve.py exported/ --port 8000
    curl -d '{"texts": ["The export has hung since noon."]}' http://127.0.0.1:8000

The model is one of whole texts or of entities that `bert_jax.load` opens: an ONNX folder or file, a run folder, a
Hugging Face folder. POST
answers the texts of one request; GET says what is served, for a health check. The model answers one request at a time,
because one already takes every core; the others wait in line, and are refused with 503 where the line is too long.
SIGTERM and Ctrl-C finish what has begun. It has no TLS and no login: it belongs behind a proxy that has both.
"""

import argparse
import asyncio
import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import bert_jax
from bert_jax.data.batches import batch_lengths, largest_batch
from bert_jax.inference.loading import is_onnx
from bert_jax.inference.predictor import Predictor
from bert_jax.inference.tagger import Tagger
from bert_jax.terminal import say

MAX_TEXTS = 256  # in one request
MAX_BODY_BYTES = 1 << 20
MAX_WAITING = 512  # requests in line
MAX_CONNECTIONS = 2048
BODY_SECONDS = 30  # in which the body of a request has to arrive
IDLE_SECONDS = 60  # after which an unused connection is closed
STOP_SECONDS = 25  # for the requests in line when a stop is asked for; Kubernetes kills after 30
JAX_BATCH_SIZE = 4  # few shapes, so that all can be compiled before the first request
ONNX_BATCH_SIZE = 64  # its program takes any shape


class BadRequest(Exception):
    """A request that is refused: an HTTP status, and a line for the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Service:
    """One model, and the line of requests that wait for it."""

    def __init__(self, path: str) -> None:
        self.model = bert_jax.load(path)
        if not isinstance(self.model, Predictor | Tagger):
            raise bert_jax.UserError(f"{path}: answers more than a text. Models of texts and entities are served")
        self.about = {"model": path, "labels": self.model.labels}
        self.compiles = not is_onnx(Path(path))
        self.batch_size = JAX_BATCH_SIZE if self.compiles else ONNX_BATCH_SIZE
        self.waiting = 0
        self._worker = ThreadPoolExecutor(1, "model")

    def warm_up(self) -> None:
        """Compute a batch of every shape that a request can have, so that none waits for a compiler."""
        self.answers(["warm"])
        for length in batch_lengths(self.model.max_length) if self.compiles else ():
            text = " ".join(["a"] * max(length - 2, 1))  # as many tokens, with [CLS] and [SEP]
            rows = largest_batch(self.batch_size, length)
            while rows:
                self.answers([text] * rows)
                rows //= 2

    def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        answers = self.model.predict(texts, batch_size=self.batch_size)
        return [[item.as_dict() for item in a] if isinstance(a, list) else a.as_dict() for a in answers]

    async def answer(self, request: Request) -> Response:
        """Answer the texts of a request, when those that came before are answered."""
        try:
            texts = texts_of(await read_body(request))
            if self.waiting >= MAX_WAITING:
                raise BadRequest(503, f"{MAX_WAITING} requests are waiting. Try again in a moment")
        except BadRequest as error:
            return refusal(error)
        self.waiting += 1
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._worker, self.answers, texts)
        finally:
            self.waiting -= 1
        return reply(200, {"answers": answers})

    async def describe(self, request: Request) -> Response:
        """Say what is served. A body, which GET should not have, is read and dropped."""
        try:
            await read_body(request)
        except BadRequest as error:
            return refusal(error)
        return reply(200, self.about)


class OneWayToFrame:
    """ASGI middleware that refuses Transfer-Encoding: beside a length, a proxy might take one request for two."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self.app
        if any(name == b"transfer-encoding" for name, _ in scope.get("headers", ())):
            app = refusal(BadRequest(411, "send a Content-Length, no Transfer-Encoding"))
        await app(scope, receive, send)


async def read_body(request: Request) -> bytes:
    """Return the body of a request. Raises BadRequest where it is too long or too slow."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise BadRequest(413, f"Content-Length {length[:20]}: at most {MAX_BODY_BYTES} bytes")
    try:
        return await asyncio.wait_for(request.body(), BODY_SECONDS)
    except TimeoutError:
        raise BadRequest(408, f"the body did not arrive within {BODY_SECONDS} seconds") from None
    except ClientDisconnect:
        raise BadRequest(400, "the client went away") from None


def texts_of(body: bytes) -> list[str]:
    """Return the texts of a request. Raises BadRequest, which says what is wrong, for anything else."""
    try:
        texts = json.loads(body)["texts"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadRequest(400, 'send JSON: {"texts": ["...", "..."]}') from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequest(400, "texts: not a list of strings")
    if not 1 <= len(texts) <= MAX_TEXTS:
        raise BadRequest(400, f"texts: {len(texts)}, of which there must be 1 to {MAX_TEXTS}")
    return texts


def reply(status: int, message: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(message, ensure_ascii=True).encode()  # half a character has no other spelling
    return Response(body, status, headers, "application/json")


def refusal(error: BadRequest) -> Response:
    """Return the answer to a request that is refused. What may be left of its body ends with the connection."""
    unread = error.status in (408, 411, 413)
    return reply(error.status, {"error": str(error)}, {"Connection": "close"} if unread else None)


def application(service: Service) -> Starlette:
    routes = [
        Route("/", service.describe, methods=["GET"]),
        Route("/", service.answer, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(OneWayToFrame)])


class Server(uvicorn.Server):
    """uvicorn that says where it listens."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                say(f"{self.config.app.state.path}: serving at http://{host}:{port}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=8000)
    options = arguments.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn passes them on when all is answered
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        service = Service(options.model)
        service.warm_up()
    except bert_jax.UserError as error:
        raise SystemExit(str(error)) from None
    app = application(service)
    app.state.path = options.model
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,  # texts of customers do not belong in logs, and the proxy counts
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    Server(config).run()


if __name__ == "__main__":
    main()
