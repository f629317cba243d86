/**
 * Short messages at the edge of the screen, read out by screen readers, gone by themselves. Each page has one `Toasts`
 * within what it makes fullscreen, for nothing beside that is painted then.
 */
import { signal } from "@preact/signals";

type Toast = {
  readonly id: number;
  readonly text: string;
  readonly action?: { readonly label: string; readonly run: () => void };
};

const TOASTS_MAX = 3;
const SHOWN_MS = 5_000;
const toasts = signal<readonly Toast[]>([]);
let last = 0;

export function toast(text: string, action?: Toast["action"]): void {
  last += 1;
  const id = last;
  const others = toasts.value.filter((one) => one.text !== text);
  toasts.value = [...others, { id, text, ...(action && { action }) }].slice(-TOASTS_MAX);
  setTimeout(() => dismiss(id), SHOWN_MS);
}

const dismiss = (id: number): void => void (toasts.value = toasts.value.filter((one) => one.id !== id));

/** `done` is told once an offer was taken: its button goes, and the focus with it. */
export function Toasts({ done }: { readonly done?: () => void }) {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((one) => (
        <div class="toast" key={one.id}>
          <span>{one.text}</span>
          {one.action && (
            <button
              type="button"
              class="button small"
              onClick={() => {
                one.action?.run();
                dismiss(one.id);
                done?.();
              }}
            >
              {one.action.label}
            </button>
          )}
        </div>
      ))}
    </div>
  );
}
