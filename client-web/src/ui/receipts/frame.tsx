/** What every page of receipts has around it: the way home, and whom this browser believes. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { publishPhase } from "../beacon.ts";
import { Mark } from "../icons.tsx";
import { navigate } from "../router.ts";
import type { ReceiptsModel } from "./model.ts";

type FrameProps = { readonly title: string; readonly model: ReceiptsModel; readonly children: ComponentChildren };

export function Frame({ title, model, children }: FrameProps) {
  useEffect(() => {
    document.title = `${title} · Nearlight`;
    publishPhase("receipts");
  }, [title]);
  return (
    <div class="lobby receipts">
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <header class="top">
        <Inside to="/" class="brand" label="Nearlight, the lobby">
          <Mark />
          <span>nearlight</span>
        </Inside>
        <p class="tagline">Receipts that anyone can verify.</p>
        <nav class="top-side" aria-label="Receipts">
          <Inside to="/receipts" class="chip">
            All receipts
          </Inside>
        </nav>
      </header>
      <main id="content" tabIndex={-1}>
        <h1>{title}</h1>
        {children}
        <Believed model={model} />
      </main>
      <footer>
        <p>This browser does the arithmetic itself. The server shows the log; it is not asked whether anything is true.</p>
      </footer>
    </div>
  );
}

type InsideProps = { readonly to: string; readonly class?: string; readonly label?: string; readonly children: ComponentChildren };

/** A link within the page, so that a policy that was chosen stays. */
export function Inside({ to, class: name, label, children }: InsideProps) {
  const go = (event: MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a href={to} class={name ?? ""} aria-label={label} onClick={go}>
      {children}
    </a>
  );
}

/** Where the policy came from, and how to bring one's own. */
function Believed({ model }: { readonly model: ReceiptsModel }) {
  const own = model.policy.value;
  const [text, setText] = useState("");
  const take = (policy: string, from: string): void => {
    if (policy.trim() !== "") model.policy.value = { text: policy.endsWith("\n") ? policy : `${policy}\n`, from };
  };
  const pick = async (input: HTMLInputElement): Promise<void> => {
    const file = input.files?.[0];
    if (file) take(await file.text(), `the file ${file.name}`);
  };
  return (
    <section class="sheet believed" aria-label="Whom this browser believes" data-policy={own ? "own" : "server"}>
      <h2>Whom this browser believes</h2>
      <p>
        {own
          ? `Logs and witnesses: your own policy, from ${own.from}. Whose keys are whose: the directory that this server shows.`
          : "Logs and witnesses: what this server says of itself. It could say anything: for more than a first look, bring a policy of your own."}
      </p>
      <details>
        <summary>{own ? "Take another policy" : "Bring your own policy"}</summary>
        <label class="field">
          <span>A policy file (c2sp.org/tlog-policy)</span>
          <input type="file" data-field="policy-file" onChange={(event) => void pick(event.currentTarget)} />
        </label>
        <label class="field">
          <span>Or paste one</span>
          <textarea data-field="policy" rows={4} spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
        <div class="row">
          <button type="button" class="button small" data-action="take-policy" onClick={() => take(text, "what you pasted")}>
            Believe this policy
          </button>
          {own && (
            <button type="button" class="button small quiet" data-action="drop-policy" onClick={() => (model.policy.value = null)}>
              Believe the server again
            </button>
          )}
        </div>
      </details>
    </section>
  );
}
