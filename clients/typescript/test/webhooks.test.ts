/** Signatures of notices, against vectors that the broker's own test makes. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { verifyWebhook, WebhookError } from "nearlight";

interface Vector {
  name: string;
  secret: string;
  body: string;
  headers: Record<string, string>;
}

// Compiled, this file is one folder deeper.
const FILE = new URL("../../../vectors/webhooks.json", import.meta.url);
const VECTORS = JSON.parse(readFileSync(FILE, "utf8")) as Vector[];
const SENT_S = 1_767_225_600;

for (const { name, secret, body, headers } of VECTORS) {
  test(`what the broker signs is taken, and nothing else: ${name}`, async () => {
    const notice = await verifyWebhook(body, headers, secret, { nowS: SENT_S + 10 });
    assert.deepEqual(notice, JSON.parse(body || "{}"));
    const altered: [string, Record<string, string>, string][] = [
      [`${body} `, headers, secret],
      [body, { ...headers, "webhook-id": "msg_2" }, secret],
      [body, { ...headers, "webhook-timestamp": String(SENT_S + 1) }, secret],
      [body, { ...headers, "webhook-signature": "v1,AAAA" }, secret],
      [body, {}, secret],
      [body, headers, `whsec_${"AAAA".repeat(8)}`],
      [body, headers, "whsec_*"],
    ];
    for (const of of altered) await assert.rejects(verifyWebhook(...of, { nowS: SENT_S }), WebhookError);
    for (const nowS of [SENT_S - 301, SENT_S + 301]) {
      await assert.rejects(verifyWebhook(body, headers, secret, { nowS }), /clock/);
    }
  });
}
