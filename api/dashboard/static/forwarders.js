// The forwarders: who is connected, with which streams; from here to their configuration.

import { presence } from "./cards.js";
import { closeStreams, openStreams } from "./closing.js";
import { h, setAttribute, setText } from "./dom.js";
import { NONE, streamName, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { button, empty } from "./parts.js";
import { rows } from "./rows.js";
import { isEntryOf, namesChanged, onEvent, serverNow, state } from "./state.js";
import { upsLevel, upsWords } from "./ups.js";

// Of batteries no event comes here.
const EVERY_MS = 15000;

/** Returns {node, update(), close()}. */
export function forwarderList() {
  const table = rows(COLUMNS, { label: "Forwarders", kind: "forwarders", key: (each) => each.forwarder_id });
  const none = empty(
    "No forwarder has connected yet.",
    h("p", {}, "Make a token for it below, and enter it in the forwarder's own settings."),
  );
  let askedAt = -Infinity;
  const list = fresh(async () => {
    askedAt = performance.now();
    const [{ forwarders }, { forwarder_ups }] = await Promise.all([
      ask("GET", "api/v1/forwarders"),
      ask("GET", "api/v1/forwarder-ups"),
    ]);
    table.update(forwarders.map((each) => ({ ...each, ups: forwarder_ups[each.forwarder_id] ?? null })));
    table.node.hidden = forwarders.length === 0;
    none.hidden = forwarders.length > 0;
  });
  const node = h("div", {}, list.said, table.node, none);
  none.hidden = true;

  const close = onEvent((event) => {
    if (namesChanged(event) || isEntryOf(event, "forwarder_") || event.type === "resync") list.mark();
  });
  const update = () => {
    if (performance.now() - askedAt > EVERY_MS) list.mark();
    return list.refresh();
  };
  return { node, update, close };
}

function battery() {
  const node = h("span", { class: "battery" });
  const update = ({ ups }) => {
    setText(node, ups === null ? NONE : upsWords(ups));
    setAttribute(node, "data-level", ups === null ? null : upsLevel(ups));
  };
  return { node, update };
}

function streams() {
  const node = h("span", { class: "links" });
  const update = ({ stream_ids }) => {
    const known = stream_ids.filter((id) => state.streams.has(id));
    const links = known.map((id) => link(id));
    if (
      links.map((each) => each.textContent).join() !==
      [...node.children].map((each) => each.textContent).join()
    )
      node.replaceChildren(...links);
  };
  return { node, update };
}

function link(id) {
  const card = state.streams.get(id);
  // Whose forwarder is gone is gone with it: that stands beside it.
  const lost = card.online && !card.reader_connected;
  return h("a", { href: `#/stream/${id}` }, `${streamName(card)}${lost ? " (reader not connected)" : ""}`);
}

function acts({ forwarder_id }) {
  let shown = null;
  const given = () => ({ forwarder_id, title: shown.display_name ?? forwarder_id });
  const close = button("Close streams…", () => closeStreams(given()), { "aria-label": `Close streams… of ${forwarder_id}` });
  const reopen = button("Open streams", () => openStreams(given()), { "aria-label": `Open streams of ${forwarder_id}` });
  const href = `#/config/${encodeURIComponent(forwarder_id)}`;
  const node = h(
    "span",
    { class: "buttons" },
    close,
    reopen,
    h("a", { class: "button plain", href, "aria-label": `Configuration of ${forwarder_id}` }, "Configuration"),
  );
  const update = (forwarder) => {
    shown = forwarder;
    const cards = forwarder.stream_ids.map((id) => state.streams.get(id)).filter(Boolean);
    close.hidden = !cards.some((card) => card.closed_at === null);
    reopen.hidden = !cards.some((card) => card.closed_at !== null);
  };
  return { node, update };
}

const COLUMNS = [
  { title: "Link", kind: "tight", part: presence },
  { title: "Forwarder", kind: "strong", text: (each) => each.display_name ?? each.forwarder_id },
  { title: "Id", text: (each) => each.forwarder_id },
  { title: "Streams", kind: "grow", part: streams },
  { title: "Battery", part: battery },
  {
    title: "Last seen",
    kind: "num",
    text: (each) => (each.last_seen_at === null ? NONE : time(each.last_seen_at, serverNow())),
  },
  { title: "Actions", kind: "acts", part: acts },
];
