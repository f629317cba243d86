"""Imported for what it does: torch's meeting places are made without libuv, which Debian's torch has not.

USE_LIBUV is for one of the three ways to make one; the launcher, and the programs that share its, take
the default.
"""

import functools
from importlib import import_module

for name in ("rendezvous", "elastic.rendezvous.static_tcp_rendezvous"):
    module = import_module(f"torch.distributed.{name}")
    module.TCPStore = functools.partial(module.TCPStore, use_libuv=False)
