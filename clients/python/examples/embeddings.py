"""Starts the catalogue's embeddings job, asks it how alike two sentences are, and ends it.

NEARLIGHT_URL and NEARLIGHT_TOKEN, or `nearlight login`, say where. Wants the package `openai`.
"""

import sys
from pathlib import Path

from openai import OpenAI

from nearlight import Client, Session

JOB = Path(__file__).resolve().parents[3] / "configs/jobs/embeddings/job.toml"


def show(session: Session) -> None:
    print(f"{session.id} {session.phase}", file=sys.stderr)


with Client() as client, client.sessions.start(job=JOB, on_progress=show) as session:
    url, ticket = session.endpoint()
    openai = OpenAI(base_url=f"{url}v1", api_key=ticket)
    answer = openai.embeddings.create(
        model="all-MiniLM-L6-v2", input=["A man is eating food.", "A man eats something."]
    )
    one, other = (entry.embedding for entry in answer.data)
    # The vectors have length 1.
    print(f"cosine {sum(a * b for a, b in zip(one, other, strict=True)):.4f}")
