/** Letting others watch: make a link, copy it, see who watches, take it back. */
import { useEffect, useMemo, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { Api } from "../session/api.ts";
import { durationWords, refusalWords } from "../session/words.ts";
import type { WatchLink } from "../wire/types.ts";
import { Icon } from "./icons.tsx";
import type { PlayRoom } from "./play-room.ts";
import { ShareModel } from "./share-model.ts";
import { toast } from "./toasts.tsx";

const EXPIRIES: readonly { readonly seconds: number; readonly title: string }[] = [
  { seconds: 3600, title: "1 hour" },
  { seconds: 4 * 3600, title: "4 hours" },
  { seconds: 24 * 3600, title: "1 day" },
];

type ShareProps = { readonly room: PlayRoom; readonly api: Api; readonly session: string; readonly close: () => void };

export function Share({ room, api, session, close }: ShareProps) {
  const first = useRef<HTMLButtonElement>(null);
  const model = useMemo(() => new ShareModel(api, session), [api, session]);
  const expiresS = useSignal(EXPIRIES[1]?.seconds ?? 3600);
  useEffect(() => {
    first.current?.focus();
    void model.load();
  }, [model]);
  const leave = (): void => {
    close();
    room.focus();
  };
  const make = async (): Promise<void> => {
    if (model.busy.value) return;
    const address = await model.make(expiresS.value);
    if (address !== null) await copy(address);
  };
  const watchers = room.watchers.value;
  const refused = model.refused.value;
  return (
    <section class="drawer" role="dialog" aria-label="Share" onKeyDown={(event) => event.key === "Escape" && leave()}>
      <header>
        <h2>Let others watch</h2>
        <button type="button" class="dock-button" aria-label="Close sharing" onClick={leave}>
          <Icon name="close" />
        </button>
      </header>
      <p class="quiet">Whoever has the link sees and hears this session, and can do nothing else. They need no account.</p>
      <label class="row">
        <span>The link works for</span>
        <select data-field="expiry" value={expiresS.value} onChange={(event) => (expiresS.value = Number(event.currentTarget.value))}>
          {EXPIRIES.map(({ seconds, title }) => (
            <option key={seconds} value={seconds}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <button ref={first} type="button" class="button primary" data-action="make-link" onClick={() => void make()}>
        <Icon name="link" />
        Make a link and copy it
      </button>
      {refused && (
        <p class="card-note" role="alert" data-problem={refused.name}>
          <strong>{refusalWords(refused).title}.</strong> {refused.detail || refusalWords(refused).advice}
        </p>
      )}
      <p class="watching" data-testid="watchers">
        <Icon name="eye" />
        {watchers === 0 ? "Nobody watches." : watchers === 1 ? "One person watches." : `${watchers} people watch.`}
      </p>
      <Links model={model} />
    </section>
  );
}

function Links({ model }: { readonly model: ShareModel }) {
  const links = model.links.value;
  if (!links || links.length === 0) return null;
  return (
    <>
      <h3>Links that work</h3>
      <ul class="links">
        {links.map((link) => (
          <LinkRow key={link.id} link={link} model={model} />
        ))}
      </ul>
    </>
  );
}

function LinkRow({ link, model }: { readonly link: WatchLink; readonly model: ShareModel }) {
  const address = model.address(link.id);
  const ageS = (Date.now() - link.created_unix_ms) / 1000;
  const left = durationWords((link.expires_unix_ms - Date.now()) / 1000);
  return (
    <li data-watch-link={link.id}>
      <span>
        {ageS < 60 ? "Made just now" : `Made ${durationWords(ageS)} ago`}
        <small>{left} left</small>
      </span>
      {address !== null && (
        <button type="button" class="button small" data-action="copy-watch-link" onClick={() => void copy(address)}>
          Copy
        </button>
      )}
      <button type="button" class="button small danger" data-action="revoke-link" onClick={() => void model.revoke(link.id)}>
        Revoke
      </button>
    </li>
  );
}

async function copy(address: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(address);
    toast("Link copied. Send it to whoever may watch.");
  } catch {
    toast(`Copy this address: ${address}`);
  }
}
