// What is done to devices from more than one place of the page.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { ask, ifThere, path } from "./http.js";

/** Asks, and restarts a forwarder: the session that is there when it is asked, and none that came since. */
export async function restartForwarder(forwarder_id) {
  const connected_at = await connectedAt(forwarder_id);
  // Without a session to name, the command would go to whichever comes while the question stands.
  if (connected_at === null) return say(`${forwarder_id} is not connected: the command cannot reach it now.`);
  const answer = await askFirst(`Restart forwarder ${forwarder_id}`, {
    body: [h("p", {}, "It is gone for a moment. Reads that its readers take meanwhile come when it is back.")],
    verb: "Restart",
    kind: "danger",
    act: () =>
      ask("POST", path(["forwarders", forwarder_id, "restart"]), {
        body: { expected_connected_at: connected_at },
      }),
  });
  if (answer !== undefined) say("The forwarder restarts.");
}

export const START_ANEW = {
  action: "restart-device",
  title: "Restart the device",
  text: "The whole machine starts anew, in a minute or so. Reads that its readers take meanwhile come only from those that record in their own memory.",
  verb: "Restart the device",
  done: "The device restarts.",
};
export const SHUT_DOWN = {
  action: "shutdown-device",
  title: "Shut the device down",
  text: "The machine switches itself off, and somebody must go there to switch it on again. Until then nothing of its readers comes.",
  verb: "Shut it down",
  done: "The device shuts down.",
};

/** Asks, with the forwarder's id to be typed, and has its machine start anew or switch itself off. */
export async function controlDevice(forwarder_id, { action, title, text, verb, done }) {
  const answer = await askFirst(`${title} of ${forwarder_id}`, {
    body: [h("p", {}, text)],
    typed: forwarder_id,
    verb,
    kind: "danger",
    act: () => ask("POST", path(["forwarders", forwarder_id, "control", action])),
  });
  if (answer !== undefined) say(done);
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

/** Asks, and revokes all tokens that a forwarder has then: nobody waits for it any more. */
export async function revokeTokens(forwarder_id) {
  const live = await liveTokens(forwarder_id);
  if (!live.length) return say(`${forwarder_id} has no token that is valid.`);
  const left = await askFirst(`Revoke ${count(live.length, "token")} of forwarder ${forwarder_id}`, {
    body: [h("p", {}, "It cannot connect any more, until it is given a new one, and nobody waits for it.")],
    verb: "Revoke",
    kind: "danger",
    act: async () => {
      for (const { token_id } of live) await revoke(token_id);
      return liveTokens(forwarder_id);
    },
  });
  if (left === undefined) return;
  // One that was made meanwhile was not asked about: it may be there to replace these.
  const made = left.length ? `${count(left.length, "token")} made meanwhile` : "no token any more";
  say(`${forwarder_id} has ${made}.`);
}

async function liveTokens(forwarder_id) {
  const { tokens } = await ask("GET", "api/v1/admin/tokens");
  return tokens.filter(
    (each) => each.device_type === "forwarder" && each.device_id === forwarder_id && each.revoked_at === null,
  );
}

// Somebody else may have revoked it, or a first try that failed further on: that is what is wanted.
const revoke = (token_id) => ifThere(ask("POST", path(["admin", "tokens", token_id, "revoke"])));
