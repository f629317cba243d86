/** `/nodes/ID/receipts`: a node's ratio over time, and its receipts; by its key id, or its own. */
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { HEIGHT, LEFT, plot, WIDTH, type Dot, type Point } from "../../receipts/plot.ts";
import { ratio, when } from "../../receipts/story.ts";
import type { ReceiptSummary } from "../../wire/types.ts";
import { navigate } from "../router.ts";
import { Frame } from "./frame.tsx";
import { Receipts } from "./list.tsx";
import type { ReceiptsModel } from "./model.ts";

export function NodePage({ model, node }: { readonly model: ReceiptsModel; readonly node: string }) {
  const [rows, setRows] = useState<readonly ReceiptSummary[]>([]);
  // A node's own id leads to the key that it has now, which its receipts are about.
  const key = node.startsWith("nod_") ? rows.find(({ kind }) => kind === "porc/v1")?.about : node;
  const take = useCallback((found: readonly ReceiptSummary[]) => setRows(found), []);
  return (
    <Frame title="A node's receipts" model={model}>
      <p class="key">
        {node.startsWith("nod_") && (
          <>
            Node <code>{node}</code>{" "}
          </>
        )}
        {key !== undefined && (
          <>
            Key <code>{key}</code>
          </>
        )}
      </p>
      <Ratios model={model} receipts={rows} />
      <section class="sheet" aria-label="Receipts">
        <h2>Receipts</h2>
        <Receipts model={model} about={node} onRows={take} empty="The log has nothing about it. A key id is 64 hex digits; the list of nodes is on the page of all receipts." />
        <p class="quiet">
          That nothing is missing here is the server's word. “nearlight receipt audit --node {(key ?? node).slice(0, 8)}…” reads the whole log and finds out.
        </p>
      </section>
    </Frame>
  );
}

function Ratios({ model, receipts }: { readonly model: ReceiptsModel; readonly receipts: readonly ReceiptSummary[] }) {
  const [points, setPoints] = useState<readonly Point[]>([]);
  const policy = model.policy.value;
  useEffect(() => {
    const over = new AbortController();
    setPoints([]);
    void model.points(receipts, over.signal, (point) => setPoints((before) => [...before, point]));
    return () => over.abort();
  }, [model, receipts, policy]);
  const drawn = useMemo(() => plot(points), [points]);
  const latest = drawn?.dots.filter((dot) => dot.valid && dot.finding === "pass").at(-1);
  return (
    <section class="sheet" aria-label="Ratio over time">
      <h2>What it does, of what its class asks for</h2>
      {drawn === null ? (
        <p class="quiet">No capacity check of it has been verified here.</p>
      ) : (
        <>
          <p class="lead">{latest ? `${ratio(latest.permille)} at the last check that it passed, ${when(latest.at_s)}.` : "It has passed no check that verifies."}</p>
          <svg class="plot" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${drawn.dots.length} capacity checks over time`} data-points={drawn.dots.length}>
            {drawn.grid.map(({ y, permille }) => (
              <g key={permille} class={permille === 1000 ? "reference" : "grid"}>
                <line x1={LEFT} x2={WIDTH} y1={y} y2={y} />
                <text x={LEFT - 8} y={y + 4}>
                  {ratio(permille)}
                </text>
              </g>
            ))}
            <text class="from" x={LEFT} y={HEIGHT - 6}>
              {when(drawn.from_s).slice(0, 10)}
            </text>
            {drawn.until_s > drawn.from_s && (
              <text class="until" x={WIDTH - 8} y={HEIGHT - 6}>
                {when(drawn.until_s).slice(0, 10)}
              </text>
            )}
            <polyline points={drawn.line} />
            {drawn.dots.map((dot) => (
              <PlotDot key={dot.index} dot={dot} />
            ))}
          </svg>
          <p class="legend quiet">
            <span data-finding="pass">passed</span>
            <span data-finding="fail">failed</span>
            <span data-finding="inconclusive">nothing can be said</span>
            <span data-valid="false">does not verify</span>
          </p>
        </>
      )}
    </section>
  );
}

function PlotDot({ dot }: { readonly dot: Dot }) {
  const to = `/receipts/${dot.index}`;
  const words = `Receipt ${dot.index}: ${ratio(dot.permille)}, ${dot.finding}${dot.valid ? "" : ", does not verify"}, ${when(dot.at_s)}`;
  const go = (event: MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a href={to} aria-label={words} onClick={go}>
      <circle cx={dot.x} cy={dot.y} r="5" data-finding={dot.finding} data-valid={dot.valid}>
        <title>{words}</title>
      </circle>
    </a>
  );
}
