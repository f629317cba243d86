/** `/receipts`: look a node up, see what came last, and check a receipt that one has. */
import { useEffect, useState } from "preact/hooks";
import { when } from "../../receipts/story.ts";
import type { Keys } from "../../receipts/verifier.ts";
import { navigate } from "../router.ts";
import { CheckOwn } from "./check-own.tsx";
import { Frame, Inside } from "./frame.tsx";
import { Receipts } from "./list.tsx";
import { LOADING, type Loaded, type ReceiptsModel } from "./model.ts";

export function IndexPage({ model }: { readonly model: ReceiptsModel }) {
  return (
    <Frame title="Receipts" model={model}>
      <p class="lead">
        Checkers measure what nodes can do, sign what they found, and put it into a log that nobody can rewrite unseen. Your browser verifies each of these receipts itself.
      </p>
      <LookUp model={model} />
      <section class="sheet" aria-label="Newest receipts">
        <h2>Newest receipts</h2>
        <Receipts model={model} about={null} empty="The log is empty so far." />
      </section>
      <CheckOwn model={model} />
    </Frame>
  );
}

function LookUp({ model }: { readonly model: ReceiptsModel }) {
  const [keys, setKeys] = useState<Loaded<Keys>>(LOADING);
  const [id, setId] = useState("");
  useEffect(() => {
    let over = false;
    void model.keys().then((found) => over || setKeys(found));
    return () => (over = true);
  }, [model]);
  const wanted = id.trim().toLowerCase();
  const nodes = keys.state === "here" ? keys.value.keys.filter((key) => key.role === "node") : [];
  const fitting = wanted === "" ? nodes : nodes.filter((key) => key.id.startsWith(wanted) || key.operator.toLowerCase().includes(wanted));
  const go = (event: Event): void => {
    event.preventDefault();
    const exact = /^([0-9a-f]{64}|nod_[0-9a-z]{26})$/.test(wanted) ? wanted : fitting.length === 1 ? fitting[0]?.id : undefined;
    if (exact) navigate(`/nodes/${exact}/receipts`);
  };
  return (
    <section class="sheet" aria-label="Look a node up">
      <h2>Look a node up</h2>
      <form class="row" onSubmit={go}>
        <label class="field grow">
          <span>Its id, its key id, or who runs it</span>
          <input type="text" data-field="node" autocomplete="off" spellcheck={false} value={id} onInput={(event) => setId(event.currentTarget.value)} />
        </label>
        <button type="submit" class="button primary" data-action="look-up">
          Look it up
        </button>
      </form>
      {keys.state === "failed" && (
        <p class="card-note" role="alert">
          {keys.why}
        </p>
      )}
      {keys.state === "here" && (
        <>
          <p class="quiet">
            {nodes.length === 0 ? "No node has a key in the directory yet." : `${nodes.length} nodes are in the directory, edition ${keys.value.serial} of ${when(keys.value.issued_at_s)}.`}
          </p>
          <ul class="receipt-list">
            {fitting.map((key) => (
              <li key={key.id}>
                <Inside to={`/nodes/${key.id}/receipts`} class="receipt-row">
                  <strong>{key.operator}</strong>
                  <code>{key.id.slice(0, 16)}…</code>
                  <span class="quiet">{key.revoked_at_s === null ? "its key counts" : `revoked ${when(key.revoked_at_s)}`}</span>
                </Inside>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
