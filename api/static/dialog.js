// Dialogs that ask before something happens, and the page's short word afterwards.

import { h, setText } from "./dom.js";
import { button, failure, field } from "./parts.js";

/**
 * Asks, and does. `act(values)` runs when it is confirmed and may throw an ApiError, which the dialog shows and stays.
 * typed: a text that must be typed before anything can be done. controls: named inputs whose values `act` gets.
 * Resolves to what `act` returned, or to undefined when the operator went back.
 */
export function askFirst(title, { body = [], typed = null, controls = {}, verb, kind = "primary", act }) {
  return new Promise((resolve) => {
    const go = h("button", { type: "submit", class: `button ${kind}` }, verb);
    const said = h("div");
    const check = typed === null ? null : typedField(typed, go);
    const form = h(
      "form",
      { on: { submit } },
      h("h2", {}, title),
      body,
      Object.values(controls),
      check,
      said,
      h(
        "div",
        { class: "buttons" },
        go,
        button("Go back", () => dialog.close()),
      ),
    );
    const dialog = show(form, title, () => resolve(undefined));

    async function submit(event) {
      event.preventDefault();
      go.disabled = true;
      try {
        const values = Object.fromEntries(new FormData(form));
        resolve((await act(values)) ?? null);
        dialog.close();
      } catch (error) {
        said.replaceChildren(failure(error));
        go.disabled = false;
      }
    }
  });
}

/** Shows something that is closed with one button. */
export function tell(title, body, { verb = "Close" } = {}) {
  return new Promise((resolve) => {
    const content = h(
      "div",
      {},
      h("h2", {}, title),
      body,
      h(
        "div",
        { class: "buttons" },
        button(verb, () => dialog.close(), { kind: "primary" }),
      ),
    );
    const dialog = show(content, title, resolve);
  });
}

/** Says what has been done, for a few seconds. */
export function say(text) {
  const place = document.getElementById("said");
  setText(place, text);
  place.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (place.hidden = true), 8000);
}

function show(content, title, closed) {
  const dialog = h("dialog", { "aria-label": title }, content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Letters and digits are enough: nobody should have to look for a · on a phone's keyboard.
const bare = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || text;

function typedField(wanted, go) {
  const same = (text) => bare(text) === bare(wanted);
  const input = h("input", { type: "text", autocomplete: "off", spellcheck: "false", "data-typed": true });
  input.addEventListener("input", () => (go.disabled = !same(input.value)));
  go.disabled = true;
  return field(["To confirm, type ", h("strong", {}, wanted)], input);
}
