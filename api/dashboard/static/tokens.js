// The devices' tokens: made here and shown once, revoked here.

import { toCopy } from "./copy.js";
import { askFirst, say, showOnce } from "./dialog.js";
import { h } from "./dom.js";
import { NONE, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, path } from "./http.js";
import { button, empty, failure, field } from "./parts.js";
import { rows } from "./rows.js";
import { isEntryOf, onEvent, serverNow } from "./state.js";

const AGAIN_EVERY_MS = 60000;

/** Returns {node, update(), close()}: what other operators make and revoke is told by the log. */
export function tokenList() {
  const table = rows([...COLUMNS, { title: "Actions", kind: "acts", part: acts }], {
    label: "Tokens",
    kind: "tokens",
    key: (token) => token.token_id,
  });
  const none = empty("No token yet.", h("p", {}, "A device connects with a token that stands for it."));
  const list = fresh(load);
  const node = h("div", {}, mintForm(list.again), list.said, table.node, none);
  none.hidden = true;
  let known = new Map();
  let loadedAt = -Infinity;

  async function load() {
    const { tokens } = await ask("GET", "api/v1/admin/tokens");
    loadedAt = performance.now();
    known = new Map(tokens.map((token) => [token.token_id, token]));
    table.update(tokens.reverse().sort((a, b) => (a.revoked_at !== null) - (b.revoked_at !== null)));
    table.node.hidden = tokens.length === 0;
    none.hidden = tokens.length > 0;
  }

  function acts(first) {
    const gone = () => (known.get(first.token_id)?.revoked_at ? "It is revoked already." : null);
    const node = button("Revoke…", () => revoke(first, gone).then(list.again), {
      "aria-label": `Revoke the token of ${first.device_id}`,
    });
    return { node, update: (token) => (node.hidden = token.revoked_at !== null) };
  }

  const close = onEvent((event) => (isEntryOf(event, "token_") || event.type === "resync") && list.mark());
  // When each was used last, and whatever an event did not tell.
  const update = () => {
    if (performance.now() - loadedAt > AGAIN_EVERY_MS) list.mark();
    list.refresh();
  };
  list.refresh();
  return { node, update, close };
}

function mintForm(minted) {
  const type = h(
    "select",
    { name: "device_type" },
    ["forwarder", "receiver"].map((each) => h("option", { value: each }, each)),
  );
  const id = h("input", {
    name: "device_id",
    required: true,
    maxlength: 255,
    autocomplete: "off",
    spellcheck: "false",
  });
  const said = h("div");
  const go = h("button", { type: "submit", class: "button primary" }, "Make a token");
  const form = h(
    "form",
    { class: "filters", on: { submit } },
    field("For a", type),
    field("Device id, such as start-line", id),
    go,
  );

  async function submit(event) {
    event.preventDefault();
    go.disabled = true;
    try {
      const answer = await ask("POST", "api/v1/admin/tokens", {
        body: { device_type: type.value, device_id: id.value.trim() },
      });
      said.replaceChildren();
      form.reset();
      minted();
      await showToken(answer);
    } catch (error) {
      said.replaceChildren(failure(error));
    }
    go.disabled = false;
  }
  return h("div", {}, form, said);
}

function showToken({ device_type, device_id, token }) {
  return showOnce(
    `Token of ${device_type} ${device_id}`,
    [
      h("p", {}, "It is shown this once: only its hash is kept. Enter it in the device's settings."),
      toCopy("Token", token),
    ],
    {
      verb: "I have it",
      question: "Have you kept the token? Once this is closed nobody can show it again.",
      stay: "Show it still",
    },
  );
}

async function revoke({ token_id, device_type, device_id }, gone) {
  const answer = await askFirst(`Revoke a token of ${device_type} ${device_id}`, {
    body: [h("p", {}, "A device that is connected with it is cut off within a second.")],
    verb: "Revoke",
    kind: "danger",
    gone,
    act: () => ask("POST", path(["admin", "tokens", token_id, "revoke"])),
  });
  if (answer !== undefined) say(`The token of ${device_id} is revoked.`);
}

const COLUMNS = [
  { title: "Device", kind: "strong", text: (token) => token.device_id },
  { title: "Kind", text: (token) => token.device_type },
  {
    title: "State",
    text: (token) => (token.revoked_at === null ? "valid" : `revoked ${time(token.revoked_at, serverNow())}`),
  },
  { title: "Made", kind: "num", text: (token) => time(token.created_at, serverNow()) },
  {
    title: "Last used",
    kind: "num",
    text: (token) => (token.last_used_at === null ? NONE : time(token.last_used_at, serverNow())),
  },
];
