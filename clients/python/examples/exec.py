"""Starts the catalogue's embeddings job, runs commands in it, copies files, and ends it.

NEARLIGHT_URL and NEARLIGHT_TOKEN, or `nearlight login`, say where. Wants `nearlight[exec]`.
"""

import sys
from pathlib import Path

from nearlight import Client, ProblemError, Session

JOB = Path(__file__).resolve().parents[3] / "configs/jobs/embeddings/job.toml"


def show(session: Session) -> None:
    print(f"{session.id} {session.phase}", file=sys.stderr)


with Client() as client, client.sessions.start(job=JOB, on_progress=show) as session:
    ran = session.exec(["sh", "-c", "sort; echo sorted >&2; exit 3"], stdin=b"pear\napple\n")
    print("exec", ran.status, *(word.decode() for word in (ran.stdout + ran.stderr).split()))
    # As it comes, however much it is.
    sizes: list[int] = []
    ran = session.exec(
        ["head", "-c", "33554432", "/dev/zero"], on_output=lambda stream, piece: sizes.append(len(piece))
    )
    print("exec", ran.status, sum(sizes), "bytes")
    ran = session.exec(["sh", "-c", "test -t 1 && echo a terminal"], tty=True, size=(100, 30))
    print("exec", ran.status, ran.stdout.decode().strip())
    # A copy of a directory, through this program and not kept by it.
    session.exec(["sh", "-c", "mkdir /tmp/out && head -c 5000000 /dev/urandom > /tmp/out/a"])
    session.put_files("/tmp/in", session.get_files("/tmp/out"))
    print("exec", session.exec(["cmp", "/tmp/out/a", "/tmp/in/a"]).status, "copied")
    try:
        session.exec([""])
    except ProblemError as problem:
        print("refused", problem.name, problem.detail)
