// Begin race: all streams at once are commanded to new epochs that are the race's. It cannot be taken back, so the race's
// name is typed; what became of each stream stays on the page, and those that have not begun can be told again. Which
// streams there are is asked for when it matters: the first page's cards may be not all of them.

import { askFirst, say } from "./dialog.js";
import { h, setText } from "./dom.js";
import { count, streamName } from "./format.js";
import { ask, path } from "./http.js";
import { badge, button, empty, field } from "./parts.js";
import { rows } from "./rows.js";
import { state } from "./state.js";
import { allStreams } from "./streams.js";

const WITHIN_MS = 40000;
const WORDS = {
  begun: ["good", "begun"],
  begun_already: ["good", "begun already"],
  not_connected: ["act", "not connected"],
  unknown: ["watch", "nobody knows"],
  failed: ["act", "failed"],
};

/**
 * Returns {node, update(race, streams), refresh()}; `changed` is called when streams were told. streams: those that the page
 * may have no cards of.
 */
export function beginning(race_id, changed) {
  const go = button("Begin race…", () => begin((stream) => isOf(race, stream)), { kind: "danger" });
  const again = button("Tell those again that have not begun…", () => begin(({ stream_id }) => left.has(stream_id)), { kind: "danger" });
  const none = empty("No stream to begin with.", h("p", {}, "Give a forwarder to the race, or an epoch of a stream."));
  const hint = h("p", { class: "hint" }, "All of its streams start a new epoch at once, which is the race's, and its clock goes, unless it does already.");
  const nameOf = ({ stream_id }) => streamName(state.streams.get(stream_id) ?? known.get(stream_id));
  const table = rows(columns(nameOf), { label: "What became of each stream", kind: "begun", key: (each) => each.stream_id });
  // What may be wrong beside what became of the streams.
  const missing = h("p", { class: "note" });
  const told = h("div", { "aria-live": "polite" }, missing, table.node, again);
  const node = h("div", {}, none, hint, h("div", { class: "buttons" }, go), told);
  let race = null;
  let beyond = [];
  let known = new Map();
  let left = new Set();
  let asking = false;
  told.hidden = true;

  async function begin(isMeant) {
    if (asking) return;
    asking = true;
    const streams = await allStreams().catch((error) => say(error.message));
    asking = false;
    const meant = streams?.filter(isMeant);
    const answer = meant && (await askToBegin(race, meant));
    if (!answer) return;
    known = new Map(streams.map((stream) => [stream.stream_id, stream]));
    left = new Set(answer.results.filter((each) => !each.state.startsWith("begun")).map((each) => each.stream_id));
    table.update(answer.results);
    setText(missing, answer.message ?? "");
    missing.hidden = !answer.message;
    told.hidden = false;
    again.hidden = left.size === 0;
    changed();
  }

  function refresh() {
    const any = [...state.streams.values(), ...beyond].some((stream) => isOf(race, stream));
    none.hidden = any;
    go.hidden = hint.hidden = !any;
  }

  const update = (now, streams) => {
    [race, beyond] = [now, streams];
    refresh();
  };
  return { node, update, refresh };
}

// Those of its forwarders, and those that have an epoch of it: the same as the server takes.
const isOf = ({ forwarder_ids, mapped_epochs }, { stream_id, forwarder_id }) =>
  forwarder_ids.includes(forwarder_id) || mapped_epochs.some((each) => each.stream_id === stream_id);

function askToBegin(race, streams) {
  const boxes = streams.map((stream) => {
    const box = h("input", { type: "checkbox", checked: true, value: stream.stream_id });
    const words = `${streamName(stream)}: epoch ${stream.stream_epoch} ends${stream.online ? "" : ", offline"}`;
    return { box, node: h("label", { class: "check" }, box, h("span", {}, words)) };
  });
  const name = h("input", { name: "epoch_name", maxlength: 255, autocomplete: "off", value: race.name });
  return askFirst(`Begin ${race.name}`, {
    body: [
      h("p", {}, "Each reader starts a new epoch at number 1, which is the race's. Reads of before stay where they are."),
      h("fieldset", { class: "checks" }, h("legend", {}, count(streams.length, "stream")), boxes.map((each) => each.node)),
    ],
    controls: { epoch_name: field("Name of the new epochs", name) },
    typed: race.name,
    verb: "Begin race",
    kind: "danger",
    act: ({ epoch_name }) => {
      const stream_ids = boxes.filter(({ box }) => box.checked).map(({ box }) => box.value);
      if (!stream_ids.length) throw new Error("Choose a stream.");
      // As they were shown: what somebody else has begun meanwhile is not begun again.
      const expected_epochs = Object.fromEntries(streams.map((stream) => [stream.stream_id, stream.stream_epoch]));
      const body = { stream_ids, epoch_name: epoch_name.trim() || null, expected_epochs };
      return ask("POST", path(["races", race.race_id, "begin"]), { body, withinMs: WITHIN_MS });
    },
  });
}

const columns = (nameOf) => [
  {
    title: "State",
    kind: "tight",
    part: () => {
      const made = badge();
      return { node: made.node, update: ({ state: became }) => made.update(...WORDS[became]) };
    },
  },
  { title: "Stream", kind: "strong", text: nameOf },
  {
    title: "What happened",
    kind: "plain",
    text: ({ new_stream_epoch, message }) => message ?? `It was told to begin epoch ${new_stream_epoch}.`,
  },
];
