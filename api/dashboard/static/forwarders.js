// The forwarders: who is connected, with which streams; from here to their configuration.

import { presence } from "./cards.js";
import { closeStreams, openStreams } from "./closing.js";
import { h } from "./dom.js";
import { NONE, streamName, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { button, empty } from "./parts.js";
import { rows } from "./rows.js";
import { isEntryOf, namesChanged, onEvent, serverNow, state } from "./state.js";

/** Returns {node, update(), close()}. */
export function forwarderList() {
  const table = rows(COLUMNS, { label: "Forwarders", kind: "forwarders", key: (each) => each.forwarder_id });
  const none = empty(
    "No forwarder has connected yet.",
    h("p", {}, "Make a token for it below, and enter it in the forwarder's own settings."),
  );
  const list = fresh(async () => {
    const { forwarders } = await ask("GET", "api/v1/forwarders");
    table.update(forwarders);
    table.node.hidden = forwarders.length === 0;
    none.hidden = forwarders.length > 0;
  });
  const node = h("div", {}, list.said, table.node, none);
  none.hidden = true;

  const close = onEvent((event) => {
    if (namesChanged(event) || isEntryOf(event, "forwarder_") || event.type === "resync") list.mark();
  });
  return { node, update: list.refresh, close };
}

function streams() {
  const node = h("span", { class: "links" });
  const update = ({ stream_ids }) => {
    const known = stream_ids.filter((id) => state.streams.has(id));
    const links = known.map((id) => h("a", { href: `#/stream/${id}` }, streamName(state.streams.get(id))));
    if (
      links.map((each) => each.textContent).join() !==
      [...node.children].map((each) => each.textContent).join()
    )
      node.replaceChildren(...links);
  };
  return { node, update };
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
  {
    title: "Last seen",
    kind: "num",
    text: (each) => (each.last_seen_at === null ? NONE : time(each.last_seen_at, serverNow())),
  },
  { title: "Actions", kind: "acts", part: acts },
];
