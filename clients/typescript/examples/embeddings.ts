/**
 * Starts the catalogue's embeddings job, asks it how alike two sentences are, and ends it.
 * NEARLIGHT_URL and NEARLIGHT_TOKEN, or `nearlight login`, say where: `node dist/examples/embeddings.js JOB.TOML`
 */

import { connect, readJob } from "nearlight/node";
import OpenAI from "openai";

const client = connect();
const job = readJob(process.argv[2] ?? "../../configs/jobs/embeddings/job.toml");
const session = await client.sessions.start({ job, onProgress: (at) => console.error(at.id, at.phase) });
try {
  const { url, ticket } = await session.endpoint();
  const openai = new OpenAI({ baseURL: `${url}v1`, apiKey: ticket });
  const input = ["A man is eating food.", "A man eats something."];
  const { data } = await openai.embeddings.create({ model: "all-MiniLM-L6-v2", input });
  const [one = [], other = []] = data.map((entry) => entry.embedding);
  // The vectors have length 1.
  console.log("cosine", one.reduce((sum, a, i) => sum + a * (other[i] ?? NaN), 0).toFixed(4));
} finally {
  await session.end();
}
