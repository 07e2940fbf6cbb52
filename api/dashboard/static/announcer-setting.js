// How the announcer is set, and where that is changed. What somebody has touched here stays until it is saved or given up,
// whatever others do; what they have done meanwhile is said, and not overwritten.

import { streamChoice } from "./announcer-streams.js";
import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { ask } from "./http.js";
import { button, failure, field, shape } from "./parts.js";

const CONFIG = "api/v1/announcer/config";

/**
 * Returns {node, update(state, streams, courses)}. state: the announcer's, with `running`, whether it announces. `changed` is
 * called when it was set.
 */
export function announcerSetting(address, changed) {
  const size = h("input", { type: "number", min: 1, max: 500, required: true, on: { input: touch } });
  const choice = streamChoice(touch);
  const said = h("div", { "aria-live": "polite" });
  const others = h(
    "p",
    { class: "note" },
    shape("watch"),
    h("span", {}, "Somebody else has set it meanwhile."),
    button("Show how it is set", () => [giveUp(), show()]),
  );
  const on = button("Switch on…", switchOn, { kind: "primary" });
  const save = button("Save", saveIt, { kind: "primary" });
  const off = button("Switch off…", switchOff);
  const reset = button("Reset the list…", resetIt, { kind: "danger" });
  const node = h(
    "div",
    {},
    choice.node,
    h("div", { class: "filters" }, field("How many are shown, 1 to 500", size)),
    others,
    said,
    h("div", { class: "buttons" }, on, save, off, reset),
  );
  // What is shown was set then; null: nothing was touched, and it follows what is set.
  let base = null;
  let chosen = new Set();
  let [state, streams, courses] = [null, [], []];

  function touch() {
    base ??= state.updated_at;
    show();
  }

  function giveUp() {
    base = null;
    said.replaceChildren();
  }

  function show() {
    if (base === null) {
      chosen = new Set(state.selected_stream_ids);
      if (document.activeElement !== size) size.value = state.max_list_size;
    }
    choice.update(streams, courses, chosen);
    others.hidden = base === null || base === state.updated_at;
    on.hidden = state.running;
    off.hidden = !state.enabled;
    save.disabled = base === null;
    reset.disabled = !state.running;
  }

  // In the order in which they are listed; those that are gone are refused, or left out, by the server.
  const wanted = (enabled) => ({
    enabled,
    max_list_size: Number(size.value) || state.max_list_size,
    selected_stream_ids: [...chosen],
    expected_updated_at: base ?? state.updated_at,
  });
  const others_set = () => (state.updated_at === (base ?? state.updated_at) ? null : "Somebody else has set it meanwhile.");
  const isOther = () => chosen.size !== state.selected_stream_ids.length || state.selected_stream_ids.some((id) => !chosen.has(id));

  const set = async (enabled) => {
    if (enabled && chosen.size === 0) throw new Error("Choose where people come in: a point, or a stream.");
    const now = await ask("PUT", CONFIG, { body: wanted(enabled) });
    giveUp();
    return now;
  };

  async function saveIt() {
    if (state.running && isOther()) return done(await askAnew());
    save.disabled = true;
    try {
      done(await set(state.running));
    } catch (error) {
      said.replaceChildren(failure(error));
      save.disabled = false;
    }
  }

  const askAnew = () =>
    askFirst("Announce other streams", {
      body: h("p", {}, `The list begins anew. Who is on it is shown no more: ${count(state.finisher_count, "person", "people")}.`),
      gone: others_set,
      verb: "Save",
      act: () => set(true),
    });

  async function switchOn() {
    const body = [
      h("p", {}, `For 24 hours everybody who opens ${address} sees who comes in at what you have chosen: bib, name, and the reader's time.`),
      h("p", {}, "The list begins empty. Names are personal data: switch it off when nobody calls them out any more."),
    ];
    done(await askFirst("Switch the announcer on", { body, gone: others_set, verb: "Switch on", act: () => set(true) }));
  }

  async function switchOff() {
    const body = h("p", {}, "Its page shows nobody from now on. Switched on again it begins with an empty list.");
    done(await askFirst("Switch the announcer off", { body, gone: others_set, verb: "Switch off", act: () => set(false) }));
  }

  async function resetIt() {
    const body = h("p", {}, `Who is on the list is shown no more (${count(state.finisher_count, "person", "people")}), and whoever comes in next is number 1.`);
    const became = await askFirst("Reset the list", {
      body,
      verb: "Reset the list",
      kind: "danger",
      act: () => ask("POST", "api/v1/announcer/reset"),
    });
    if (became === undefined) return;
    say("The list begins anew.");
    changed();
  }

  function done(config) {
    if (!config) return;
    say(config.public_enabled ? "The announcer is on." : "The announcer is off.");
    changed();
  }

  const update = (...now) => {
    [state, streams, courses] = now;
    show();
  };
  return { node, update };
}
