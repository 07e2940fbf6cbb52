// The latest reads of all streams, or of one stream or chip, as they come; pausable.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { NONE, number, readerTime, received, streamName } from "./format.js";
import { ask, path } from "./http.js";
import { empty, failure, field } from "./parts.js";
import { rows } from "./rows.js";
import { onEvent, serverNow, state } from "./state.js";

const SHOWN = 50;
const AT_MOST_EVERY_MS = 1000;

/** Returns {node, update(), close()}. */
export function liveTail() {
  const tag = h("input", {
    type: "search",
    "data-filter": true,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 64,
    on: { input: changed },
  });
  const stream = h("select", { on: { change: changed } });
  const showStreams = keyed(stream, { key: (each) => each.stream_id, make: option });
  const pause = h(
    "button",
    { type: "button", class: "button plain", "aria-pressed": "false", on: { click: toggle } },
    "Pause",
  );
  const table = rows(COLUMNS, { label: "Latest reads", kind: "latest", key: readKey });
  const none = empty("");
  const said = h("div", { "aria-live": "polite" });
  const box = h(
    "div",
    { class: "tail", tabindex: "0", role: "region", "aria-label": "Latest reads" },
    table.node,
    none,
  );
  const node = h(
    "div",
    {},
    h("div", { class: "filters" }, field("Chip", tag), field("Stream", stream), pause),
    said,
    box,
  );
  let paused = false;
  let stale = true;
  let busy = false;
  let askedAt = -Infinity;
  let reads = [];

  function changed() {
    stale = true;
    askedAt = -Infinity;
    refresh();
  }

  function toggle() {
    paused = !paused;
    setAttribute(pause, "aria-pressed", String(paused));
    setText(pause, paused ? "Go on" : "Pause");
    changed();
  }

  async function refresh() {
    if (paused || busy || !stale || performance.now() - askedAt < AT_MOST_EVERY_MS) return;
    busy = true;
    stale = false;
    askedAt = performance.now();
    const wanted = { tag_id: tag.value.trim(), stream_id: stream.value };
    try {
      reads = (await ask("GET", path(["reads", "latest"], { ...wanted, limit: SHOWN }))).reads;
      said.replaceChildren();
      show(wanted);
    } catch (error) {
      if (error.code !== "UNREACHABLE") said.replaceChildren(failure(error));
    }
    busy = false;
    if (wanted.tag_id !== tag.value.trim() || wanted.stream_id !== stream.value) changed();
  }

  function show({ tag_id, stream_id }) {
    table.update(reads);
    table.node.hidden = reads.length === 0;
    none.hidden = reads.length > 0;
    const where = stream_id ? " of this stream" : "";
    none.firstChild.textContent = tag_id ? `No read of chip ${tag_id}${where}.` : `No reads${where} yet.`;
  }

  const close = onEvent(({ type }) => {
    stale ||= type === "metrics_updated" || type === "stream_created";
  });
  const update = () => {
    const all = [...state.streams.values()];
    if (document.activeElement !== stream) showStreams([{ stream_id: "", all: true }, ...all]);
    refresh();
  };
  return { node, update, close };
}

const option = (first) => {
  const node = h("option", { value: first.stream_id });
  return { node, update: (each) => setText(node, each.all ? "All streams" : streamName(each)) };
};

/** What tells a read from all others. */
export const readKey = (read) => `${read.stream_id} ${read.stream_epoch} ${read.seq}`;

const chip = (read) => read.tag_id ?? (read.parse_error === null ? NONE : `unparsed: ${read.parse_error}`);
const of = (read) => {
  const card = state.streams.get(read.stream_id);
  return card ? streamName(card) : read.stream_id;
};

const LINE = { title: "Line", kind: "mono line", text: (read) => read.raw_read_line };
const NUMBER = {
  title: "Epoch, number",
  kind: "num plain",
  text: (read) => `${read.stream_epoch} · ${number(read.seq)}`,
};

/** The columns of reads: of one stream, and of all. Which of its two times a column has, its title says. */
const RECEIVED = { title: "Received", kind: "num", text: (read) => received(read.received_at, serverNow()) };
const CHIP = { title: "Chip", kind: "mono strong", text: chip };
export const READ_COLUMNS = [
  RECEIVED,
  { title: "Reader time", kind: "num", text: (read) => readerTime(read, serverNow()) },
  CHIP,
  NUMBER,
  LINE,
];
const COLUMNS = [RECEIVED, CHIP, { title: "Stream", kind: "plain", text: of }, NUMBER, LINE];
