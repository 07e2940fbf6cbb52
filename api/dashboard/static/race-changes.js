// What is changed of a race itself: its name, when its people are removed, and whether it is there.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { count, moment, time, typed, zoneNow } from "./format.js";
import { ask, path } from "./http.js";
import { button, field } from "./parts.js";
import { serverNow } from "./state.js";

/** Returns the node of the buttons; race() is the race as it is known, `changed` is called when it is another. */
export function changeRace(race_id, race, changed) {
  const at = path(["races", race_id]);

  async function rename() {
    const { name: was } = race();
    const input = h("input", { name: "name", maxlength: 255, required: true, autocomplete: "off", value: was });
    const renamed = await askFirst("Rename the race", {
      gone: () => (!race() || race().name === was ? null : `Somebody else has renamed it: ${race().name}.`),
      controls: { name: field("Name", input) },
      verb: "Rename",
      act: ({ name }) => ask("PATCH", at, { body: { name, expected_name: was } }),
    });
    if (!renamed) return;
    say(`It is ${renamed.name} now.`);
    changed();
  }

  async function keep() {
    const until = race().participants_until;
    const input = h("input", { name: "until", type: "datetime-local", step: 1, value: typed(until) });
    const shown = input.value;
    const said = until === null ? "kept until somebody removes them" : `removed on ${time(until, serverNow())}`;
    const kept = await askFirst("Remove the people at a time", {
      body: h("p", {}, `At the moment they are ${said}. Reads and chips stay, without names.`),
      controls: { until: field("When", input, { hint: "Empty: when somebody does it." }) },
      verb: "Save",
      act: async ({ until: wanted }) =>
        wanted === shown ||
        ask("PATCH", at, { body: { participants_until: moment(wanted) || null, expected_participants_until: until } }),
    });
    if (kept) changed();
  }

  async function gun() {
    const { gun_at } = race();
    const input = h("input", { name: "gun", type: "datetime-local", step: 1, value: typed(gun_at) });
    const shown = input.value;
    const said = gun_at ? `it was ${time(gun_at, serverNow())}` : "the race has not begun";
    const set = await askFirst("When the gun was", {
      body: h("p", {}, `As far as the race's clock knows, ${said}. Begin race lets it go, unless a time stands here.`),
      controls: { gun: field("The gun", input, { hint: `${zoneNow(serverNow()).said}. Empty: when the race begins.` }) },
      verb: "Save",
      // What was not touched stays as it is, to the millisecond.
      act: async ({ gun: wanted }) =>
        wanted === shown || ask("PATCH", at, { body: { gun_at: moment(wanted) || null, expected_gun_at: gun_at } }),
    });
    if (set) changed();
  }

  async function remove() {
    const { name, participant_count } = race();
    const removed = await askFirst(`Delete ${name}`, {
      body: h("p", {}, `Its ${count(participant_count, "person", "people")}, chips and epochs' races are deleted. Reads stay.`),
      typed: name,
      verb: "Delete",
      kind: "danger",
      act: () => ask("DELETE", at),
    });
    if (removed === undefined) return;
    say(`${name} is deleted.`);
    location.hash = "#/races";
  }

  return h(
    "span",
    { class: "buttons" },
    button("Rename…", rename, { "aria-label": "Rename… the race" }),
    button("Gun at…", gun),
    button("Remove people at…", keep),
    button("Delete…", remove, { kind: "danger", "aria-label": "Delete… the race" }),
  );
}
