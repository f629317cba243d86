"""Starts PyTorch's launcher with what the session says of the cluster: NNODES, NODE_RANK, MASTER_ADDR
and MASTER_PORT. Without them it is a cluster of one.

Gloo listens at the address of the host's own name, which for a container may be the loopback; so the
network card that leads to replica 0 is named to it.
"""

import fcntl
import os
import socket
import struct
import sys

import no_libuv  # noqa: F401
from rendezvous import own_address, resolved
from torch.distributed import run

SIOCGIFADDR = 0x8915
NAME_S = 120


def card_of(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                reply = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue
            if socket.inet_ntoa(reply[20:24]) == address:
                return name
    sys.exit(f"no network card has the address {address}")


def main():
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    os.environ["GLOO_SOCKET_IFNAME"] = card_of(own_address(resolved(host, NAME_S)))
    run.main([
        "--nnodes", os.environ.get("NNODES", "1"),
        "--node-rank", os.environ.get("NODE_RANK", "0"),
        "--nproc-per-node", "1",
        "--master-addr", host,
        "--master-port", os.environ.get("MASTER_PORT", "29500"),
        "/opt/train.py",
    ])


if __name__ == "__main__":
    main()
