/** Verifies a receipt that the visitor has: a file, or a text. */
import { useState } from "preact/hooks";
import { Opening } from "./receipt-page.tsx";
import { LOADING, type Loaded, type Opened, type ReceiptsModel } from "./model.ts";

export function CheckOwn({ model }: { readonly model: ReceiptsModel }) {
  const [text, setText] = useState("");
  const [proof, setProof] = useState("");
  const [opened, setOpened] = useState<Loaded<Opened> | null>(null);
  const pick = async (input: HTMLInputElement, into: (text: string) => void): Promise<void> => {
    const file = input.files?.[0];
    if (file) into(await file.text());
  };
  const check = async (event: Event): Promise<void> => {
    event.preventDefault();
    setOpened(LOADING);
    setOpened(await model.check(text, proof));
  };
  return (
    <section class="sheet" aria-label="Check a receipt of your own">
      <h2>Check a receipt that you have</h2>
      <form onSubmit={(event) => void check(event)}>
        <label class="field">
          <span>A file that “nearlight receipt get” wrote, or an envelope</span>
          <input type="file" data-field="receipt-file" onChange={(event) => void pick(event.currentTarget, setText)} />
        </label>
        <label class="field">
          <span>Or its text</span>
          <textarea data-field="receipt" rows={5} spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
        <details>
          <summary>Its proof, if it came apart from the envelope</summary>
          <label class="field">
            <span>The .tlog-proof</span>
            <textarea data-field="proof" rows={4} spellcheck={false} value={proof} onInput={(event) => setProof(event.currentTarget.value)} />
          </label>
        </details>
        <button type="submit" class="button primary" data-action="check-receipt" disabled={text.trim() === ""}>
          Verify it here
        </button>
      </form>
      {opened && <Opening opened={opened} model={model} />}
    </section>
  );
}
