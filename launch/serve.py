"""Serve a fine-tuned sequence or token model over HTTP, as an ASGI application on uvicorn.

    pip install 'bert_jax[serve]'
    python launch/serve.py exported/ --port 8000
    curl -d '{"texts": ["The export has hung since noon."]}' http://127.0.0.1:8000

The model is an ONNX folder or file, a run folder, or a Hugging Face folder. POST returns the predictions for the texts
of a request; GET describes the model, for health checks. Requests are processed one at a time, because one already uses
every core; the others wait in a queue, and get status 503 if the queue is full. SIGTERM and Ctrl-C finish the accepted
requests. There is no TLS and no login: run it behind a proxy that has both.
"""

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import bert_jax
from bert_jax.data.batches import batch_lengths, max_batch_rows
from bert_jax.data.encoded import Encoded
from bert_jax.inference.loading import is_onnx
from bert_jax.inference.predictor import Predictor
from bert_jax.inference.tagger import Tagger
from bert_jax.prediction.answer_formats import rounded
from bert_jax.terminal import say

MAX_TEXTS = 256  # in one request
MAX_BODY_BYTES = 1 << 20
MAX_WAITING = 512  # requests in the queue
MAX_CONNECTIONS = 2048
BODY_SECONDS = 30  # time for the body of a request to arrive
IDLE_SECONDS = 60  # an unused connection is closed after this time
STOP_SECONDS = 25  # time for the requests in the queue after SIGTERM; Kubernetes kills after 30
JAX_BATCH_SIZE = 4  # few shapes, so that all can be compiled before the first request
ONNX_BATCH_SIZE = 64  # onnxruntime accepts any shape


class BadRequest(Exception):
    """An invalid request: an HTTP status and a line for the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Service:
    """A model and the queue of requests that wait for it."""

    def __init__(self, path: str) -> None:
        self.model = bert_jax.load(path)
        if not isinstance(self.model, Predictor | Tagger):
            raise bert_jax.UserError(
                f"{path}: only models that read single texts, for labels or entities, can be served"
            )
        labels = self.model.labels if isinstance(self.model, Predictor) else self.model.tagset.types
        self.about = {"model": path, "labels": labels}
        self.compiles = not is_onnx(Path(path))
        self.batch_size = JAX_BATCH_SIZE if self.compiles else ONNX_BATCH_SIZE
        self.waiting = 0
        self._worker = ThreadPoolExecutor(1, "model")

    def warm_up(self) -> None:
        """Compute a batch of every shape that a request can have, so that no request waits for the compiler.

        The windows of a long text have these shapes, too.
        """
        self.answers(["warm"])
        compute = self.model.outputs if isinstance(self.model, Predictor) else self.model.compute
        for length in batch_lengths(self.model.max_length) if self.compiles else ():
            rows = max_batch_rows(self.batch_size, length)
            while rows:
                compute(padding_rows(rows, length, self.model.tokenizer.special.pad), self.batch_size)
                rows //= 2

    def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        """Return the predictions for the texts as JSON values, with the digits that `predict` writes."""
        answers = self.model.predict(texts, batch_size=self.batch_size)
        return [rounded(list(map(dataclasses.asdict, a)) if isinstance(a, list) else a.as_dict()) for a in answers]

    async def answer(self, request: Request) -> Response:
        """Reply to a request with the predictions for its texts, after the requests before it."""
        try:
            texts = request_texts(await read_body(request))
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
        """Reply with a description of the model. A body, which GET should not have, is read and dropped."""
        try:
            await read_body(request)
        except BadRequest as error:
            return refusal(error)
        return reply(200, self.about)


class RefuseTransferEncoding:
    """ASGI middleware that refuses Transfer-Encoding: with a Content-Length, a proxy could see two requests in one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self.app
        if any(name == b"transfer-encoding" for name, _ in scope.get("headers", ())):
            app = refusal(BadRequest(411, "send a Content-Length, no Transfer-Encoding"))
        await app(scope, receive, send)


def padding_rows(count: int, length: int, pad: int) -> Encoded:
    """Return `count` rows of `length` padding tokens."""
    lengths = np.full(count, length, np.int32)
    return Encoded(
        tokens=np.full(count * length, pad, np.int32),
        offsets=np.arange(count + 1, dtype=np.int64) * length,
        segment_b=lengths,
        labels=np.zeros(count, np.int32),
        pad=pad,
        max_length=length,
        dropped=0,
        truncated=0,
    )


async def read_body(request: Request) -> bytes:
    """Return the body of a request. Raises BadRequest if it is too long or too slow."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise BadRequest(413, f"Content-Length {length[:20]}: at most {MAX_BODY_BYTES} bytes")
    try:
        return await asyncio.wait_for(request.body(), BODY_SECONDS)
    except TimeoutError:
        raise BadRequest(408, f"the body did not arrive within {BODY_SECONDS} seconds") from None
    except ClientDisconnect:
        raise BadRequest(400, "the client disconnected") from None


def request_texts(body: bytes) -> list[str]:
    """Return the texts of a request. Raises BadRequest if the body is anything else."""
    try:
        texts = json.loads(body)["texts"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadRequest(400, 'send JSON: {"texts": ["...", "..."]}') from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequest(400, "texts: not a list of strings")
    if not 1 <= len(texts) <= MAX_TEXTS:
        raise BadRequest(400, f"texts: {len(texts)} given; a request may have 1 to {MAX_TEXTS}")
    return texts


def reply(status: int, message: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Return a response with a JSON body."""
    body = json.dumps(message, ensure_ascii=True).encode()  # lone surrogates cannot be encoded in UTF-8
    return Response(body, status, headers, "application/json")


def refusal(error: BadRequest) -> Response:
    """Return the response to an invalid request. It closes the connection if part of the body may be unread."""
    unread = error.status in (408, 411, 413)
    return reply(error.status, {"error": str(error)}, {"Connection": "close"} if unread else None)


def application(service: Service) -> Starlette:
    """Return the ASGI application."""
    routes = [
        Route("/", service.describe, methods=["GET"]),
        Route("/", service.answer, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(RefuseTransferEncoding)])


class Server(uvicorn.Server):
    """A uvicorn server that prints its address."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                say(f"{self.config.app.state.path}: serving at http://{host}:{port}")


def main() -> None:
    """Parse the command line, load and warm up the model, and serve it until a signal arrives."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", help="ONNX folder or file, run folder, or Hugging Face folder")
    arguments.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    arguments.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    options = arguments.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again after it has shut down
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
        access_log=False,  # the proxy keeps the access log
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    Server(config).run()


if __name__ == "__main__":
    main()
