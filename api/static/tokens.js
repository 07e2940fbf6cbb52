// The devices' tokens: made here and shown once, revoked here.

import { askFirst, say, tell } from "./dialog.js";
import { h } from "./dom.js";
import { NONE, time } from "./format.js";
import { ask, path } from "./http.js";
import { button, empty, failure, field } from "./parts.js";
import { rows } from "./rows.js";
import { serverNow } from "./state.js";

/** Returns {node}. */
export function tokenList() {
  const table = rows([...COLUMNS, { title: "Actions", kind: "acts", part: acts }], {
    label: "Tokens",
    kind: "tokens",
    key: (token) => token.token_id,
  });
  const none = empty("No token yet.", h("p", {}, "A device connects with a token that stands for it."));
  const said = h("div");
  const node = h("div", {}, mintForm(load), said, table.node, none);
  none.hidden = true;

  async function load() {
    try {
      const { tokens } = await ask("GET", "api/v1/admin/tokens");
      said.replaceChildren();
      table.update(tokens.reverse().sort((a, b) => (a.revoked_at !== null) - (b.revoked_at !== null)));
      table.node.hidden = tokens.length === 0;
      none.hidden = tokens.length > 0;
    } catch (error) {
      said.replaceChildren(failure(error));
    }
  }

  function acts(first) {
    const revoked = () => load();
    const node = button("Revoke…", () => revoke(first).then(revoked), {
      "aria-label": `Revoke the token of ${first.device_id}`,
    });
    return { node, update: (token) => (node.hidden = token.revoked_at !== null) };
  }

  load();
  return { node };
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
      await showOnce(answer);
    } catch (error) {
      said.replaceChildren(failure(error));
    }
    go.disabled = false;
  }
  return h("div", {}, form, said);
}

function showOnce({ device_type, device_id, token }) {
  const shown = h("input", { class: "token mono", readonly: true, value: token, "aria-label": "Token" });
  const copy = button("Copy", async () => {
    shown.select();
    // Without TLS a browser gives a page no clipboard but this one.
    const copied = await (navigator.clipboard?.writeText(token).then(
      () => true,
      () => false,
    ) ?? document.execCommand("copy"));
    copy.textContent = copied ? "Copied" : "Press Ctrl-C";
  });
  return tell(
    `Token of ${device_type} ${device_id}`,
    [
      h("p", {}, "It is shown this once: only its hash is kept. Enter it in the device's settings."),
      h("div", { class: "once" }, shown, copy),
    ],
    { verb: "I have it" },
  );
}

async function revoke({ token_id, device_type, device_id }) {
  const answer = await askFirst(`Revoke a token of ${device_type} ${device_id}`, {
    body: [h("p", {}, "A device that is connected with it is cut off within a second.")],
    verb: "Revoke",
    kind: "danger",
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
