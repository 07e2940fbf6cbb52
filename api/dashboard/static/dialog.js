// Dialogs that ask before something happens, and the page's short word afterwards.

import { h, setText } from "./dom.js";
import { button, failure, field } from "./parts.js";

const LOOK_EVERY_MS = 500;

/**
 * Asks, and does. `act(values)` runs when it is confirmed and may throw an ApiError, which the dialog shows and stays.
 * typed: a text that must be typed before anything can be done. controls: named inputs whose values `act` gets.
 * gone(): why it cannot be done any more, because of what others have done meanwhile; null while it can.
 * Resolves to what `act` returned, or to undefined when the operator went back.
 */
export function askFirst(title, { body = [], typed = null, controls = {}, verb, kind = "primary", gone = () => null, act }) {
  return new Promise((resolve) => {
    const go = h("button", { type: "submit", class: `button ${kind}` }, verb);
    const said = h("div");
    const late = h("div");
    const may = { typed: typed === null, here: true, idle: true };
    const allow = (now) => (go.disabled = !Object.values(Object.assign(may, now)).every(Boolean));
    const check = typed === null ? null : typedField(typed, (same) => allow({ typed: same }));
    allow({});
    const form = h(
      "form",
      { on: { submit } },
      h("h2", {}, title),
      body,
      Object.values(controls),
      check,
      late,
      said,
      h(
        "div",
        { class: "buttons" },
        go,
        button("Go back", () => dialog.close()),
      ),
    );
    const watching = setInterval(look, LOOK_EVERY_MS);
    const dialog = show(form, title, () => {
      clearInterval(watching);
      resolve(undefined);
    });

    // What others do while it is open is told by the page behind it.
    function look() {
      const why = gone();
      if ((why === null) === may.here || !may.idle) return;
      late.replaceChildren(...(why === null ? [] : [failure({ message: why })]));
      allow({ here: why === null });
    }

    async function submit(event) {
      event.preventDefault();
      allow({ idle: false });
      try {
        const values = Object.fromEntries(new FormData(form));
        resolve((await act(values)) ?? null);
        dialog.close();
      } catch (error) {
        said.replaceChildren(failure(error));
        allow({ idle: true });
      }
    }
  });
}

/**
 * Shows something that is gone for good when it is closed: with anything but its button, `question` is asked first, with
 * `stay` as the way back.
 */
export function showOnce(title, body, { verb, question, stay }) {
  return new Promise((resolve) => {
    let sure = false;
    const leave = () => {
      sure = true;
      dialog.close();
    };
    const ask = h("div", { class: "ask", role: "alertdialog", "aria-label": question, hidden: true });
    const content = h(
      "div",
      {},
      h("h2", {}, title),
      body,
      h("div", { class: "buttons" }, button(verb, leave, { kind: "primary" })),
      ask,
    );
    const dialog = show(content, title, closed, { stays: () => !sure });
    ask.append(
      h("p", {}, h("strong", {}, question)),
      h(
        "div",
        { class: "buttons" },
        button(stay, () => (ask.hidden = true), { kind: "primary" }),
        button("Close it", leave, { kind: "danger" }),
      ),
    );
    const refuse = (event) => {
      event.preventDefault();
      ask.hidden = false;
      ask.querySelector("button").focus();
    };
    dialog.addEventListener("keydown", (event) => event.key === "Escape" && refuse(event));
    dialog.addEventListener("cancel", refuse);
    dialog.addEventListener("click", (event) => event.target === dialog && outside(dialog, event) && refuse(event));
    // Leaving the page loses it as well.
    const unload = (event) => event.preventDefault();
    addEventListener("beforeunload", unload);

    function closed() {
      removeEventListener("beforeunload", unload);
      resolve();
    }
  });
}

function outside(dialog, { clientX, clientY }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}

/** Says what has been done, for a few seconds. */
export function say(text) {
  const place = document.getElementById("said");
  setText(place, text);
  place.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (place.hidden = true), 8000);
}

function show(content, title, closed, { stays = () => false } = {}) {
  const dialog = h("dialog", { "aria-label": title }, content);
  dialog.addEventListener("close", () => {
    // A browser may close it whatever it is told, as with a second way back on a phone.
    if (stays()) return dialog.showModal();
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Letters and digits are enough: nobody should have to look for a · on a phone's keyboard.
const bare = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || text;

function typedField(wanted, told) {
  const same = (text) => bare(text) === bare(wanted);
  const input = h("input", { type: "text", autocomplete: "off", spellcheck: "false", "data-typed": true });
  input.addEventListener("input", () => told(same(input.value)));
  return field(["To confirm, type ", h("strong", {}, wanted)], input);
}
