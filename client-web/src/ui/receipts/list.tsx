/** Receipts in a list, newest first, and more of them on demand. */
import { useEffect, useState } from "preact/hooks";
import { kindWords, when } from "../../receipts/story.ts";
import type { ReceiptSummary } from "../../wire/types.ts";
import { Inside } from "./frame.tsx";
import { here, LOADING, type Loaded, type ReceiptsModel } from "./model.ts";

type Rows = { readonly receipts: readonly ReceiptSummary[]; readonly next: number | null };

type ReceiptsProps = {
  readonly model: ReceiptsModel;
  /** Of what: a key id or a leaf; null for all. */
  readonly about: string | null;
  readonly onRows?: (receipts: readonly ReceiptSummary[]) => void;
  readonly empty: string;
};

export function Receipts({ model, about, onRows, empty }: ReceiptsProps) {
  const [rows, setRows] = useState<Loaded<Rows>>(LOADING);
  useEffect(() => {
    let over = false;
    setRows(LOADING);
    void model.list(about, null).then((found) => {
      if (over) return;
      setRows(found);
      if (found.state === "here") onRows?.(found.value.receipts);
    });
    return () => (over = true);
    // What is done with the rows does not change which they are.
  }, [model, about]);
  const more = async (before: number): Promise<void> => {
    const older = await model.list(about, before);
    if (older.state !== "here" || rows.state !== "here") return setRows(older);
    setRows(here({ receipts: [...rows.value.receipts, ...older.value.receipts], next: older.value.next }));
  };
  if (rows.state === "loading") return <p class="quiet">Reading the log…</p>;
  if (rows.state === "failed") {
    return (
      <p class="card-note" role="alert">
        {rows.why}
      </p>
    );
  }
  const { receipts, next } = rows.value;
  if (receipts.length === 0) return <p class="quiet">{empty}</p>;
  return (
    <>
      <ul class="receipt-list" data-receipts={receipts.length}>
        {receipts.map((one) => (
          <li key={one.index}>
            <Row one={one} />
          </li>
        ))}
      </ul>
      {next !== null && (
        <button type="button" class="button small" data-action="older" onClick={() => void more(next)}>
          Older ones
        </button>
      )}
    </>
  );
}

function Row({ one }: { readonly one: ReceiptSummary }) {
  const words = (
    <>
      <strong>{kindWords(one.kind)}</strong>
      <span class="quiet">{when(one.issued_at_s)}</span>
      <span class="quiet">
        entry {one.index}, by <code>{one.issuer.slice(0, 12)}</code>
      </span>
    </>
  );
  // An edition of the directory, or a page of it, is an entry, and no receipt: there is nothing to verify but its signature.
  return one.kind.startsWith("directory") ? <div class="receipt-row">{words}</div> : (
    <Inside to={`/receipts/${one.index}`} class="receipt-row">
      {words}
    </Inside>
  );
}
