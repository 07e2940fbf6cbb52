// Who came by the points of a race, the newest first, each by the read that counts; and why that is so.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { count, number, readerTime, streamName } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, path } from "./http.js";
import { empty, failure, field } from "./parts.js";
import { rows } from "./rows.js";
import { onEvent, racesChanged, serverNow, state } from "./state.js";
import { waitingWords } from "./waiting.js";
import { refusal } from "./transfer.js";

const SHOWN = 50;
const EVERY_MS = 3000;

/** Returns {node, update(points), refresh(), close()}; points: of the course. */
export function raceCrossings(race_id) {
  const at = (more, query) => path(["races", race_id, more], query);
  const point = h("select", { on: { change: () => list.again() } });
  const options = keyed(point, { key: (each) => each.value, make: option });
  const file = h("a", { class: "button plain", download: true, on: { click: ifMade } }, "Download .csv");
  const refused = h("div", { role: "status" });
  const waiting = h("p", { class: "hint" });
  const table = rows(COLUMNS, { label: "Crossings", kind: "crossings", key: keyOf });
  const none = empty("Nobody has come by yet.", h("p", {}, "As soon as chips are read at a point of the race, this shows who, when, and why then."));
  const shown = h("p", { class: "aside num" });
  const list = fresh(load, { everyMs: EVERY_MS });
  const node = h(
    "div",
    {},
    h("div", { class: "filters" }, field("Point", point), file),
    refused,
    list.said,
    waiting,
    table.node,
    none,
    shown,
  );
  table.node.hidden = none.hidden = waiting.hidden = true;
  let isMade = false;

  // There is no file while much is missing in it: that is said here, where the browser would say that a download failed.
  async function ifMade(event) {
    if (isMade) return;
    event.preventDefault();
    const error = await refusal(file.href);
    refused.replaceChildren(...(error === null ? [] : [failure(error)]));
    if (error !== null) return;
    isMade = true;
    file.click();
    isMade = false;
  }

  async function load() {
    const wanted = point.value;
    setAttribute(file, "href", at("crossings.csv", { point: wanted }));
    const page = await ask("GET", at("crossings", { point: wanted, limit: SHOWN }));
    // Another point was chosen meanwhile: what is shown next is of that.
    if (wanted !== point.value) return list.hurry();
    table.update(page.crossings);
    setText(waiting, waitingWords(page.waiting_events));
    waiting.hidden = page.waiting_events === 0;
    // They come without an event of ours.
    if (page.waiting_events) list.mark();
    table.node.hidden = page.crossings.length === 0;
    none.hidden = page.crossings.length > 0;
    const rest = page.next_cursor ? " The file has all of them." : "";
    setText(shown, page.crossings.length ? `The newest ${count(page.crossings.length, "crossing")} shown.${rest}` : "");
  }

  const update = (points) => {
    if (document.activeElement === point) return;
    options([{ value: "", name: "All points" }, ...points.map(optionOf)]);
  };
  const close = onEvent((event) => {
    if (racesChanged(event)) list.hurry();
    else if (event.reads) list.mark();
  });
  setAttribute(file, "href", at("crossings.csv"));
  return { node, update, refresh: list.refresh, close };
}

const keyOf = ({ point, first_read: { stream_id, stream_epoch, seq } }) => `${point} ${stream_id} ${stream_epoch} ${seq}`;
const optionOf = ({ name, placed, streams }, at) => ({ value: placed ? `${at + 1}` : streams[0].stream_id, name });
const option = () => {
  const node = h("option");
  const update = ({ value, name }) => (setAttribute(node, "value", value), setText(node, name));
  return { node, update };
};

const whose = ({ bib, first_name, last_name, chips }) =>
  bib === null ? `unknown chip ${chips.join(", ")}` : `${bib} ${first_name ?? ""} ${last_name ?? ""}`.trim();

/** Returns the explanation of a crossing: which rule it is, and its reads in the order in which they would count. */
function explanation() {
  const rule = h("summary");
  const list = h("ol", { class: "behind" });
  const more = h("p", { class: "hint" });
  const show = keyed(list, { key: (each) => each.key, make: read });
  const node = h("details", { class: "why" }, rule, list, more);
  const update = ({ why, reads, more_reads }) => {
    setText(rule, why);
    show(reads.map((each, at) => ({ ...each, at, key: `${each.stream_id} ${each.stream_epoch} ${each.seq}` })));
    setText(more, more_reads ? `and ${count(more_reads, "read")} more` : "");
    more.hidden = !more_reads;
  };
  return { node, update };
}

const ROLES = ["counts", "would count without it"];

function read() {
  const [time, where, role] = [h("span", { class: "num strong" }), h("span"), h("span", { class: "hint" })];
  const node = h("li", {}, time, " ", where, " ", role);
  const update = (each) => {
    const card = state.streams.get(each.stream_id);
    setText(time, readerTime(each, serverNow()));
    setText(where, `${card ? streamName(card) : each.stream_id} · epoch ${each.stream_epoch} · ${number(each.seq)}`);
    setText(role, ROLES[each.at] ?? "");
  };
  return { node, update };
}

const COLUMNS = [
  { title: "Time", kind: "num strong", text: (each) => readerTime({ read_at: each.crossed_at }, serverNow()) },
  { title: "Who", kind: "plain", text: whose },
  { title: "Where", kind: "plain", text: (each) => each.point_name },
  { title: "Why", kind: "plain", part: explanation },
];
