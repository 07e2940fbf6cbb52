// Begin race: all streams at once are commanded to new epochs that are the race's. It cannot be taken back, so the race's
// name is typed; what became of each stream stays on the page, and those that have not begun can be told again.

import { askFirst } from "./dialog.js";
import { h } from "./dom.js";
import { count, streamName } from "./format.js";
import { ask, path } from "./http.js";
import { badge, button, empty, field } from "./parts.js";
import { rows } from "./rows.js";
import { state } from "./state.js";

const WITHIN_MS = 40000;
const WORDS = {
  begun: ["good", "begun"],
  begun_already: ["good", "begun already"],
  not_connected: ["act", "not connected"],
  unknown: ["watch", "nobody knows"],
  failed: ["act", "failed"],
};

/** Returns {node, update(race)}; `changed` is called when streams were told. */
export function beginning(race_id, changed) {
  const go = button("Begin race…", () => begin(null), { kind: "danger" });
  const again = button("Tell those again that have not begun…", () => begin(left()), { kind: "danger" });
  const none = empty("No stream to begin with.", h("p", {}, "Give a forwarder to the race, or an epoch of a stream."));
  const table = rows(COLUMNS, { label: "What became of each stream", kind: "begun", key: (each) => each.stream_id });
  const told = h("div", { "aria-live": "polite" }, table.node, again);
  const node = h("div", {}, none, go, told);
  let race = null;
  let results = [];
  told.hidden = true;

  const left = () => results.filter((each) => !each.state.startsWith("begun")).map((each) => each.stream_id);

  async function begin(stream_ids) {
    const answer = await askToBegin(race, stream_ids === null ? streamsOf(race) : known(stream_ids));
    if (!answer) return;
    results = answer.results;
    table.update(results);
    told.hidden = false;
    again.hidden = left().length === 0;
    changed();
  }

  function refresh() {
    const any = streamsOf(race).length > 0;
    none.hidden = any;
    go.hidden = !any;
  }

  const update = (now) => {
    race = now;
    refresh();
  };
  return { node, update, refresh };
}

const known = (ids) => ids.map((id) => state.streams.get(id)).filter(Boolean);

// Those of its forwarders, and those that have an epoch of it: the same as the server takes.
function streamsOf({ forwarder_ids, mapped_epochs }) {
  const mapped = new Set(mapped_epochs.map((each) => each.stream_id));
  return [...state.streams.values()].filter(
    (card) => forwarder_ids.includes(card.forwarder_id) || mapped.has(card.stream_id),
  );
}

function askToBegin(race, cards) {
  const boxes = cards.map((card) => {
    const box = h("input", { type: "checkbox", checked: true, value: card.stream_id });
    const words = `${streamName(card)}: epoch ${card.stream_epoch} ends${card.online ? "" : ", offline"}`;
    return { box, node: h("label", { class: "check" }, box, h("span", {}, words)) };
  });
  const name = h("input", { name: "epoch_name", maxlength: 255, autocomplete: "off", value: race.name });
  return askFirst(`Begin ${race.name}`, {
    body: [
      h("p", {}, "Each reader starts a new epoch at number 1, which is the race's. Reads of before stay where they are."),
      h("fieldset", { class: "checks" }, h("legend", {}, count(cards.length, "stream")), boxes.map((each) => each.node)),
    ],
    controls: { epoch_name: field("Name of the new epochs", name) },
    typed: race.name,
    verb: "Begin race",
    kind: "danger",
    act: ({ epoch_name }) => {
      const stream_ids = boxes.filter(({ box }) => box.checked).map(({ box }) => box.value);
      if (!stream_ids.length) throw new Error("Choose a stream.");
      // As they were shown: what somebody else has begun meanwhile is not begun again.
      const expected_epochs = Object.fromEntries(cards.map((card) => [card.stream_id, card.stream_epoch]));
      const body = { stream_ids, epoch_name: epoch_name.trim() || null, expected_epochs };
      return ask("POST", path(["races", race.race_id, "begin"]), { body, withinMs: WITHIN_MS });
    },
  });
}

const COLUMNS = [
  {
    title: "State",
    kind: "tight",
    part: () => {
      const made = badge();
      return { node: made.node, update: ({ state: became }) => made.update(...WORDS[became]) };
    },
  },
  {
    title: "Stream",
    kind: "strong",
    text: ({ stream_id }) => {
      const card = state.streams.get(stream_id);
      return card ? streamName(card) : stream_id;
    },
  },
  {
    title: "What happened",
    kind: "plain",
    text: ({ new_stream_epoch, message }) => message ?? `It was told to begin epoch ${new_stream_epoch}.`,
  },
];
