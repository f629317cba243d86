"""One node of a Ray cluster: `node.py head` in replica 0, `node.py worker` in each other one.

What the cluster is comes from the session: NNODES, MASTER_ADDR and MASTER_PORT, or RAY_ADDRESS. The head
waits until all nodes are there, runs one task on each and prints what they answered. Over HTTP, on port
8000: `/health` is 200 from then on (of a worker: once it has joined), and `/nodes`, on the head, runs the
tasks again and answers as JSON. Whoever wants to do more connects with Ray, or puts a program in place
of this one.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rendezvous import own_address, resolved

PORT = 8000
JOIN_S = 240
STORE_BYTES = 80_000_000
is_well = threading.Event()


def head_address():
    """Name and port of replica 0."""
    whole = os.environ.get("RAY_ADDRESS", "")
    if ":" in whole:
        host, port = whole.rsplit(":", 1)
        return host, int(port)
    return os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "6379"))


def wait_for(host, port):
    deadline = time.monotonic() + JOIN_S
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"the head at {host}:{port} does not answer: {error}")
            time.sleep(0.5)


def start(own, *arguments):
    """Ray's processes. They end with this one, for its end is the container's."""
    words = [
        "ray", "start", "--block", "--disable-usage-stats", f"--node-ip-address={own}",
        f"--object-store-memory={STORE_BYTES}", "--num-cpus=1",
        "--node-manager-port=6380", "--object-manager-port=6381",
        "--min-worker-port=10002", "--max-worker-port=10031", *arguments,
    ]
    process = subprocess.Popen(words)
    # Its end is the job's: a replica without Ray is none.
    threading.Thread(target=lambda: os._exit(process.wait() or 1), daemon=True).start()
    return process


def joined(ray, count):
    deadline = time.monotonic() + JOIN_S
    while True:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if len(nodes) >= count:
            return nodes
        if time.monotonic() > deadline:
            sys.exit(f"{len(nodes)} of {count} nodes came within {JOIN_S} s")
        time.sleep(0.5)


def run_on_each(ray, count):
    """One task a node: [{node, address, sum}]."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote
    def task(numbers):
        context = ray.get_runtime_context()
        return {"node": context.get_node_id(), "address": ray.util.get_node_ip_address(), "sum": sum(numbers)}

    def pinned(node, share):
        where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        return task.options(scheduling_strategy=where).remote(share)

    nodes = joined(ray, count)
    return ray.get([pinned(node, range(i, 100, len(nodes))) for i, node in enumerate(nodes)], timeout=120)


def head(port):
    own = own_address(resolved(os.environ.get("MASTER_ADDR", "127.0.0.1"), JOIN_S))
    start(own, "--head", f"--port={port}", "--include-dashboard=false")
    wait_for(own, port)
    import ray

    ray.init(address=f"{own}:{port}", logging_level="warning", log_to_driver=False)
    count = int(os.environ.get("NNODES", "1"))

    def answers():
        return run_on_each(ray, count)

    for answer in answers():
        print(f"node {answer['node']} at {answer['address']} sum {answer['sum']}", flush=True)
    print(f"{count} nodes answered", flush=True)
    return answers


def worker(host, port):
    address = resolved(host, JOIN_S)
    wait_for(address, port)
    start(own_address(address), f"--address={address}:{port}")
    wait_for("127.0.0.1", 6380)
    return None


def handler(answers):
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/health":
                self.answer(200 if is_well.is_set() else 503, {"well": is_well.is_set()})
            elif self.path == "/nodes" and answers is not None:
                with lock:
                    self.answer(200, answers())
            else:
                self.answer(404, {"paths": ["/health", "/nodes"]})

        def answer(self, status, body):
            body = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def main():
    host, port = head_address()
    answers = head(port) if sys.argv[1:] == ["head"] else worker(host, port)
    is_well.set()
    ThreadingHTTPServer(("0.0.0.0", PORT), handler(answers)).serve_forever()


if __name__ == "__main__":
    main()
