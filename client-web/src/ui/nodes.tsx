/** Where sessions can run now. */
import type { Node, NodeStatus } from "../wire/types.ts";
import type { LineModel } from "./line-model.ts";
import { LineWord } from "./line.tsx";

const STATUS_WORDS: Readonly<Record<NodeStatus, string>> = {
  online: "Online",
  draining: "Takes no new sessions",
  offline: "Offline",
  revoked: "Shut out",
};

export function Nodes({ nodes, line }: { readonly nodes: readonly Node[] | null; readonly line: LineModel }) {
  return (
    <section class="nodes" id="nodes" aria-label="Nodes">
      <h2>Nodes</h2>
      {nodes === null ? (
        <p class="quiet">Looking for nodes…</p>
      ) : nodes.length === 0 ? (
        <p class="quiet">No node has joined yet. One is started by “nearlight up”, or joins from another machine.</p>
      ) : (
        <ul>
          {nodes.map((node) => (
            <NodeRow key={node.id} node={node} line={line} />
          ))}
        </ul>
      )}
    </section>
  );
}

/** More than this many slots are told in numbers alone. */
const PIPS_MAX = 16;

function NodeRow({ node, line }: { readonly node: Node; readonly line: LineModel }) {
  const taken = node.slots_total - node.slots_free;
  return (
    <li class="node" data-node={node.id} data-status={node.status}>
      <span class="dot" />
      <div class="node-name">
        <h3>{node.name}</h3>
        <p>
          {node.region} · {STATUS_WORDS[node.status]}
        </p>
      </div>
      <div class="node-slots">
        <strong>
          {node.slots_free}
          <span> of {node.slots_total} free</span>
        </strong>
        {node.slots_total <= PIPS_MAX && (
          <span class="pips" aria-hidden="true">
            {Array.from({ length: node.slots_total }, (_, i) => (
              <i key={i} data-taken={i < taken || undefined} />
            ))}
          </span>
        )}
      </div>
      <p class="node-facts">
        <span>{node.gpu_models[0] ?? (node.gpu === "none" ? "Software rendering" : "GPU")}</span>
        <span>{node.encoders[0] ?? "no encoder"}</span>
        <span>{node.runtime}</span>
        {node.uplink_kbps !== null && <span>{Math.round(node.uplink_kbps / 1000)} Mbit/s uplink</span>}
      </p>
      {node.status !== "offline" && (
        <p class="node-line">
          <LineWord check={line.of(node.id)} />
          <button
            type="button"
            class="button small quiet"
            data-action="check-line"
            aria-label={`Check the line to ${node.name}`}
            disabled={line.state.value.name === "checking"}
            onClick={() => void line.check(node.id, true)}
          >
            Check line
          </button>
        </p>
      )}
    </li>
  );
}
