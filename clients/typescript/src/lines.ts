/** An event stream as lines. What it does not know: sessions, and what any line means. */

/** A silent stream is dead after this; brokers and nodes ping every 15 s. */
const SILENCE_MS = 45_000;

/** The lines of the stream that `open` opens. One that is silent breaks; whoever has heard enough closes its connection. */
export async function* lines(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array> | null>,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  const stream = await open(signal ?? new AbortController().signal);
  if (stream === null) return;
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let rest = "";
  // A request holds its signals weakly once it is answered: whoever reads has to end it.
  let broken: Error | undefined;
  const breaks = (why: Error): void => {
    broken ??= why;
    void reader.cancel().catch(() => undefined);
  };
  const aborted = (): void => breaks(new Error("aborted", { cause: signal?.reason }));
  signal?.addEventListener("abort", aborted, { once: true });
  try {
    for (;;) {
      signal?.throwIfAborted();
      // Of the wait alone: how long a line takes whoever reads it says nothing of the stream.
      const timer = setTimeout(() => breaks(new Error("the stream is silent")), SILENCE_MS);
      const read = await reader.read().finally(() => clearTimeout(timer));
      signal?.throwIfAborted();
      if (broken) throw broken;
      if (read.done) return;
      const parts = (rest + decoder.decode(read.value, { stream: true })).split(/\r?\n/);
      rest = parts.pop() ?? "";
      yield* parts;
    }
  } finally {
    signal?.removeEventListener("abort", aborted);
    // Or the program would not end.
    await reader.cancel().catch(() => undefined);
  }
}
