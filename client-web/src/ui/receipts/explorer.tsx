/** The pages of receipts: `/receipts`, `/receipts/INDEX`, `/nodes/KEY-ID/receipts`. Fetched when one is opened. */
import "../styles/receipts.css";
import { Log } from "../../receipts/log.ts";
import { Verifier } from "../../receipts/verifier.ts";
import { path } from "../router.ts";
import { IndexPage } from "./index-page.tsx";
import { ReceiptsModel } from "./model.ts";
import { NodePage } from "./node-page.tsx";
import { ReceiptPage } from "./receipt-page.tsx";

const model = new ReceiptsModel(new Log(), new Verifier());

export function Explorer() {
  const index = /^\/receipts\/([0-9]{1,15})\/?$/.exec(path.value)?.[1];
  if (index !== undefined) return <ReceiptPage key={index} model={model} index={Number(index)} />;
  const node = /^\/nodes\/([^/]+)\/receipts\/?$/.exec(path.value)?.[1];
  if (node !== undefined) return <NodePage key={node} model={model} node={decodeURIComponent(node)} />;
  return <IndexPage model={model} />;
}
