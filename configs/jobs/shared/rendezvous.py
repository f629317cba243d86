"""How a replica of a cluster finds replica 0, and by which of its own addresses it is found.

Recipes of clusters have it by a link beside their program; it needs nothing but Python.
"""

import socket
import sys
import time


def resolved(host, within_s):
    """The address of replica 0. Its name may come after this replica has started."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return socket.gethostbyname(host)
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{host}, replica 0, has no address: {error}")
            time.sleep(0.5)


def own_address(peer):
    """The address that the way to `peer` begins at. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))
        return probe.getsockname()[0]
