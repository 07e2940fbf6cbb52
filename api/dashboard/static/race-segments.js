// Which reads of which streams are of a race: a time axis for each stream, with boundaries that are moved by mouse, by keys
// or by typing a time; what would change sides is shown before it counts. What was done can be undone, and that too.

import { say } from "./dialog.js";
import { h, keyed, setAttribute, setText } from "./dom.js";
import { NONE, number, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, path } from "./http.js";
import { button, empty, section } from "./parts.js";
import { rows } from "./rows.js";
import { boundaryAxis } from "./segment-axis.js";
import { bound, clock, inWords, named } from "./segments.js";
import { onEvent, racesChanged, serverNow } from "./state.js";

const EVERY_MS = 5000;
// Each costs a question of its own: the first have theirs, and as many others as somebody asks for, the newest.
const AXES = 12;

/** Returns {node, update(), close()}; `changed` is called when reads are of another race. */
export function raceSegments(race_id, changed) {
  const at = (...more) => path(["races", race_id, ...more]);
  const streams = h("div", { class: "segment-streams" });
  const show = keyed(streams, { key: (each) => each.stream_id, make: () => streamSegments(race_id, { moved, open }) });
  const none = empty("No stream yet.", h("p", {}, "Give a forwarder to the race, or an epoch, and its reads are shown here."));
  const log = changesLog(at, moved);
  const list = fresh(load, { everyMs: EVERY_MS });
  const more = button("More streams", () => ((pages += 1), list.again()));
  const node = h("div", {}, list.said, streams, none, more, log.node);
  none.hidden = log.node.hidden = more.hidden = true;
  let pages = 1;
  let opened = [];

  async function load() {
    const { found, changes, isCut } = await segments();
    const wanted = new Set([...found.slice(0, AXES).map((each) => each.stream_id), ...opened]);
    const drawn = await Promise.all(found.map((each) => wanted.has(each.stream_id) && axisOf(each)));
    show(found.map((each, place) => ({ ...each, axis: drawn[place] || null })));
    log.update(changes);
    none.hidden = found.length > 0;
    more.hidden = !isCut;
    log.node.hidden = changes.length === 0;
  }

  const axisOf = ({ stream_id }) => ask("GET", at("segments", stream_id, "axis"));

  // As many pages of them as somebody has asked for.
  async function segments() {
    const found = [];
    let page = { next_cursor: null };
    for (let number = 0; number < pages && (number === 0 || page.next_cursor !== null); number += 1) {
      page = await ask("GET", path(["races", race_id, "segments"], { cursor: page.next_cursor }));
      found.push(...page.streams);
    }
    return { found, changes: page.changes, isCut: page.next_cursor !== null };
  }

  function open(stream_id) {
    opened = [...opened, stream_id].slice(-AXES);
    return list.again();
  }

  function moved() {
    changed();
    return list.again();
  }

  const close = onEvent((event) => {
    if (racesChanged(event)) list.hurry();
    else if (event.streams || event.reads) list.mark();
  });
  return { node, update: list.refresh, close };
}

function streamSegments(race_id, { moved, open }) {
  let shown;
  const axisButton = button("Show its time axis", () => open(shown.stream_id));
  const title = h("h3");
  const from = h("p", { class: "hint" });
  const list = h("ul", { class: "segments num" });
  const lines = keyed(list, { key: (each) => each.key, make: segmentLine });
  const axis = boundaryAxis(race_id, moved);
  const ranges = rows(RANGES, { label: "Whose the reads are", kind: "ranges", key: (each) => `${each.epoch} ${each.from_seq}` });
  const numbers = h("details", {}, h("summary", {}, "The same in numbers"), ranges.node);
  const node = h("div", { class: "segment-stream" }, title, from, axis.node, list, numbers, axisButton);
  const update = (stream) => {
    shown = stream;
    setText(title, stream.title);
    // What is called after its forwarder says so already.
    from.hidden = stream.title.includes(stream.forwarder_id);
    setText(from, `of ${stream.forwarder_id}, now in epoch ${number(stream.stream_epoch)}`);
    setAttribute(axisButton, "aria-label", `Show the time axis of ${stream.title}`);
    axisButton.hidden = stream.axis !== null;
    axis.update(stream);
    axis.node.hidden = !stream.axis?.since;
    lines(stream.segments.map((each, place) => ({ ...each, key: `${place}` })));
    ranges.update(stream.ranges);
  };
  return { node, update };
}

const RANGES = [
  { title: "Epoch", kind: "num strong", text: (each) => number(each.epoch) },
  { title: "Numbers", kind: "num", text: ({ from_seq, to_seq }) => (to_seq === null ? `from ${number(from_seq)}` : `${number(from_seq)} to ${number(to_seq - 1)}`) },
  { title: "Race", text: (each) => each.race ?? "nobody's" },
  { title: "Reads", kind: "num", text: (each) => number(each.reads) },
  { title: "First", kind: "num", text: (each) => (each.first_at ? clock(each.first_at) : NONE) },
  { title: "Last", kind: "num", text: (each) => (each.last_at ? clock(each.last_at) : NONE) },
];

function segmentLine() {
  const node = h("li");
  return { node, update: (segment) => setText(node, inWords(segment)) };
}

const spans = (all) => all.map(([epoch, seq, to, end]) => `${bound([epoch, seq])} to ${to === null ? "open" : bound([to, end])}`).join(", ") || "epochs whole";

function changesLog(at, moved) {
  const columns = [
    { title: "When", kind: "tight", text: (each) => time(each.changed_at, serverNow()) },
    { title: "Who", text: (each) => each.changed_by },
    { title: "Stream", kind: "strong", text: (each) => each.stream },
    { title: "Before", text: (each) => spans(each.before) },
    { title: "After", text: (each) => spans(each.after) + (each.undoes === null ? "" : " (undone)") },
    { title: "Actions", kind: "acts", part: undo },
  ];
  const table = rows(columns, { label: "Moved boundaries", kind: "moved", key: (each) => String(each.change_id) });

  function undo() {
    const act = button("Undo", press);
    let shown;
    async function press() {
      act.disabled = true;
      try {
        const { moved: sides } = await ask("POST", at("segment-changes", shown.change_id, "undo"), { body: {} });
        say(`Undone: ${named(sides)}`);
      } catch (error) {
        say(error.message);
      }
      await moved();
      act.disabled = false;
    }
    const update = (each) => {
      shown = each;
      act.hidden = !each.undoable;
      act.setAttribute("aria-label", `Undo what was moved of ${each.stream} at ${time(each.changed_at, serverNow())}`);
    };
    return { node: act, update };
  }

  const node = section("Moved boundaries", { level: "h3" }, table.node);
  return { node, update: (changes) => table.update(changes) };
}
