/** `/receipts/INDEX`: what a receipt says, and what this browser makes of it. */
import { useEffect, useState } from "preact/hooks";
import { story } from "../../receipts/story.ts";
import type { Statement } from "../../receipts/statement.ts";
import { Frame, Inside } from "./frame.tsx";
import { isStatement, LOADING, type Loaded, type Opened, type ReceiptsModel } from "./model.ts";
import { Outcomes } from "./report.tsx";

export function ReceiptPage({ model, index }: { readonly model: ReceiptsModel; readonly index: number }) {
  const [opened, setOpened] = useState<Loaded<Opened>>(LOADING);
  const policy = model.policy.value;
  useEffect(() => {
    let over = false;
    setOpened(LOADING);
    void model.open(index).then((found) => over || setOpened(found));
    return () => (over = true);
  }, [model, index, policy]);
  return (
    <Frame title={`Receipt ${index}`} model={model}>
      <Opening opened={opened} model={model} />
    </Frame>
  );
}

/** A receipt that is being opened, or is. */
export function Opening({ opened, model }: { readonly opened: Loaded<Opened>; readonly model: ReceiptsModel }) {
  if (opened.state === "loading") {
    return (
      <p class="quiet" role="status" data-opening="loading">
        Verifying…
      </p>
    );
  }
  if (opened.state === "failed") {
    return (
      <p class="card-note" role="alert" data-opening="failed">
        {opened.why}
      </p>
    );
  }
  const { verified, text } = opened.value;
  const own = model.policy.value;
  const policy = own ? `your own policy, from ${own.from}` : "the policy that this server shows of itself";
  return (
    <>
      <Outcomes verified={verified} policy={policy} />
      {isStatement(verified.statement) && <Said statement={verified.statement} />}
      <details class="sheet raw">
        <summary>The receipt as it stands in the log</summary>
        {verified.statement !== null && <pre tabIndex={0}>{JSON.stringify(verified.statement, null, 2)}</pre>}
        <pre tabIndex={0}>{text}</pre>
      </details>
    </>
  );
}

function Said({ statement }: { readonly statement: Statement }) {
  const told = story(statement);
  const { does_not_prove: limits } = statement.predicate.head;
  const subject = statement.subject[0];
  return (
    <section class="sheet" aria-label="What it says">
      <h2>{told.title}</h2>
      <p class="lead">{told.summary}</p>
      <dl class="said">
        {told.lines.map(({ term, words }) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{words}</dd>
          </div>
        ))}
      </dl>
      {limits.length > 0 && (
        <>
          <h3>What it does not prove</h3>
          <ul class="limits">
            {limits.map((limit) => (
              <li key={limit}>{limit}</li>
            ))}
          </ul>
        </>
      )}
      {subject?.name.startsWith("node:") && (
        <p>
          <Inside to={`/nodes/${subject.digest.sha256}/receipts`}>Everything about this node</Inside>
        </p>
      )}
    </section>
  );
}
