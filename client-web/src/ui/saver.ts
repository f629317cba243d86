/** Offers the data saver, once in a browser's life, to whoever seems to pay for data. */
import { dataSaver, saverOffered } from "./prefs.ts";
import { toast } from "./toasts.tsx";

export function offerDataSaver(): void {
  if (saverOffered.peek() || dataSaver.peek()) return;
  saverOffered.value = true;
  toast("You seem to pay for your data.", { label: "Data saver: 1.4 GB an hour", run: () => void (dataSaver.value = true) });
}
