"""llama.cpp's own server, with one model: /v1/chat/completions, /v1/completions, /v1/models, /health.

It is told by the environment: MODEL is the name that it answers to, CONTEXT the tokens of all its
sequences together, SEQUENCES how many are computed at once.
"""

import os
import signal
import sys
import threading

import xllamacpp

WEIGHTS = os.environ.get("WEIGHTS", "/models/model.gguf")


def main():
    if not os.path.isfile(WEIGHTS):
        sys.exit(f"there are no weights at {WEIGHTS}: the job's [[assets]] has to name a GGUF file with that path")
    params = xllamacpp.CommonParams()
    params.model.path = WEIGHTS
    params.model_alias = {os.environ.get("MODEL", "model")}
    params.hostnames = ["0.0.0.0"]
    params.port = 8000
    params.n_ctx = int(os.environ.get("CONTEXT", "4096"))
    params.n_parallel = int(os.environ.get("SEQUENCES", "2"))
    params.cpuparams.n_threads = len(os.sched_getaffinity(0))
    params.n_gpu_layers = 0
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = xllamacpp.Server(params)
    print(f"serves {WEIGHTS} at {server.listening_address}", flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
