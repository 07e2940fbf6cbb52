// What is done to devices from more than one place of the page.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { ask, path } from "./http.js";

/** Asks, and restarts a forwarder: the session that is there when it is asked, and none that came since. */
export async function restartForwarder(forwarder_id) {
  const connected_at = await connectedAt(forwarder_id);
  const answer = await askFirst(`Restart forwarder ${forwarder_id}`, {
    body: [h("p", {}, "It is gone for a moment. Reads that its readers take meanwhile come when it is back.")],
    verb: "Restart",
    kind: "danger",
    act: () =>
      ask("POST", path(["forwarders", forwarder_id, "restart"]), {
        body: connected_at === null ? {} : { expected_connected_at: connected_at },
      }),
  });
  if (answer !== undefined) say("The forwarder restarts.");
}

async function connectedAt(forwarder_id) {
  const { forwarders } = await ask("GET", "api/v1/forwarders");
  return forwarders.find((each) => each.forwarder_id === forwarder_id)?.connected_at ?? null;
}

/** Asks, and deletes what a receiver has acked. */
export async function deleteCursors(receiver_id) {
  const answer = await askFirst(`Delete the cursors of ${receiver_id}`, {
    body: [h("p", {}, "Nobody misses it any more. If it comes back, everything is sent to it again from the beginning.")],
    verb: "Delete its cursors",
    kind: "danger",
    act: () => ask("DELETE", path(["receivers", receiver_id, "cursors"])),
  });
  if (answer !== undefined) say(`The cursors of ${receiver_id} are deleted.`);
}

/** Asks, and revokes all tokens of a forwarder: nobody waits for it any more. */
export async function revokeTokens(forwarder_id) {
  const { tokens } = await ask("GET", "api/v1/admin/tokens");
  const live = tokens.filter(
    (each) => each.device_type === "forwarder" && each.device_id === forwarder_id && each.revoked_at === null,
  );
  if (!live.length) return say(`${forwarder_id} has no token that is valid.`);
  const answer = await askFirst(`Revoke ${count(live.length, "token")} of forwarder ${forwarder_id}`, {
    body: [h("p", {}, "It cannot connect any more, until it is given a new one, and nobody waits for it.")],
    verb: "Revoke",
    kind: "danger",
    act: async () => {
      for (const { token_id } of live) await ask("POST", path(["admin", "tokens", token_id, "revoke"]));
    },
  });
  if (answer !== undefined) say(`${forwarder_id} has no token any more.`);
}
