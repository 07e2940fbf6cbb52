// All streams, by name: also those that the first page has no room for.

import { clockPlot } from "./clock-plot.js";
import { h, setText } from "./dom.js";
import { NONE, count, learnNames, number, originBeside, streamName, streamOrigin } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { empty, field, section } from "./parts.js";
import { rows } from "./rows.js";
import { isEntryOf, namesChanged, onEvent } from "./state.js";

const AT_MOST = 200;
const EVERY_MS = 5000;
const byName = new Intl.Collator("en", { numeric: true });

/** Returns {title, node, update(), close()}. find: what to look for from the beginning. */
export function streamsPage(find = "") {
  const filter = h("input", { name: "filter", type: "search", value: find, autocomplete: "off", "data-filter": true });
  const table = rows(COLUMNS, { kind: "all-streams", label: "Streams", key: (each) => each.stream_id });
  const shown = h("p", { class: "hint", role: "status" });
  const none = empty("No stream of this name.");
  const clocks = clockPlot();
  const list = fresh(
    async () => {
      const answer = await ask("GET", "api/v1/streams");
      learnNames(answer.streams);
      streams = answer.streams.sort((a, b) => byName.compare(streamName(a), streamName(b)));
      show();
    },
    { everyMs: EVERY_MS },
  );
  const node = h(
    "div",
    {},
    h("h1", {}, "All streams"),
    field("Name, forwarder or reader", filter),
    list.said,
    shown,
    table.node,
    none,
    section("Readers' clocks", {}, clocks.node),
  );
  let streams = [];
  none.hidden = true;

  function show() {
    const wanted = filter.value.trim().toLowerCase();
    const found = streams.filter((each) => `${streamName(each)} ${streamOrigin(each)} ${each.forwarder_id}`.toLowerCase().includes(wanted));
    table.update(found.slice(0, AT_MOST));
    none.hidden = found.length > 0 || streams.length === 0;
    const first = found.length > AT_MOST ? `, the first ${number(AT_MOST)} shown` : "";
    setText(shown, `${count(found.length, "stream")}${first}`);
  }

  filter.addEventListener("input", show);
  const unfollow = onEvent((event) => {
    const other = namesChanged(event) || isEntryOf(event, "forwarder_", "stream_", "epoch_");
    if (other || event.type === "resync") list.mark();
  });
  const update = () => {
    list.refresh();
    clocks.update();
  };
  const close = () => [unfollow, clocks.close].forEach((each) => each());
  return { title: "All streams", node, update, close };
}

function link(first) {
  const node = h("a", { href: `#/stream/${first.stream_id}` });
  return { node, update: (each) => setText(node, streamName(each)) };
}

const COLUMNS = [
  { title: "Stream", kind: "strong", part: link },
  { title: "Forwarder and reader", text: (each) => originBeside(each) || NONE },
  { title: "Epoch", kind: "right num", text: (each) => number(each.stream_epoch) },
  { title: "Forwarder", kind: "tight", text: (each) => (each.online ? "online" : "offline") },
  { title: "Open", kind: "tight", text: (each) => (each.closed ? "closed" : "open") },
];
