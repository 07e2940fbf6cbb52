// The reads of a stream, the newest first, through the filter on the screen; the exports go through the same one.

import { h, setAttribute, setText } from "./dom.js";
import { readFilter } from "./filters.js";
import { count } from "./format.js";
import { ask, path } from "./http.js";
import { button, empty, failure } from "./parts.js";
import { rows } from "./rows.js";
import { READ_COLUMNS, readKey } from "./tail.js";

const PAGE = 100;
const AT_MOST_EVERY_MS = 1000;

/** Returns {node, update(), stale(), choose(epoch), setEpochs(epochs)}. stale: there are new ones. */
export function readList(stream_id) {
  const filter = readFilter(changed);
  const table = rows(READ_COLUMNS, {
    label: "Reads",
    kind: "reads",
    key: (read) => readKey({ ...read, stream_id }),
  });
  const none = empty("");
  const said = h("div", { "aria-live": "polite" });
  const more = button("Older reads", older);
  const shown = h("p", { class: "aside num" });
  const files = ["txt", "csv"].map((kind) => ({
    kind,
    link: h("a", { class: "button plain", download: true }, `Download .${kind}`),
  }));
  const node = h(
    "div",
    {},
    filter.node,
    h(
      "div",
      { class: "buttons" },
      files.map((each) => each.link),
    ),
    h(
      "p",
      { class: "hint" },
      "Received: when the server got the read. Reader time: what the reader's own clock said, which names no zone.",
    ),
    said,
    table.node,
    none,
    h("div", { class: "buttons" }, more, shown),
  );
  let reads = [];
  let cursor = null;
  let isStale = true;
  let paged = false;
  let busy = false;
  let askedAt = -Infinity;

  function changed() {
    for (const { kind, link } of files)
      setAttribute(link, "href", path(["streams", stream_id, `export.${kind}`], filter.wanted()));
    [isStale, paged, askedAt] = [true, false, -Infinity];
    refresh();
  }

  // Who has gone back to older reads is not pulled to the newest.
  async function refresh() {
    if (!isStale || paged || performance.now() - askedAt < AT_MOST_EVERY_MS) return;
    askedAt = performance.now();
    isStale = false;
    await load(null);
  }

  async function older() {
    paged = true;
    await load(cursor);
  }

  async function load(from) {
    if (busy) return;
    busy = true;
    const wanted = filter.wanted();
    try {
      const page = await ask(
        "GET",
        path(["streams", stream_id, "reads"], { ...wanted, limit: PAGE, cursor: from }),
      );
      reads = from === null ? page.reads : [...reads, ...page.reads];
      cursor = page.next_cursor;
      said.replaceChildren();
      show();
    } catch (error) {
      said.replaceChildren(failure(error));
    }
    busy = false;
    if (JSON.stringify(wanted) !== JSON.stringify(filter.wanted())) changed();
  }

  function show() {
    table.update(reads);
    table.node.hidden = reads.length === 0;
    none.hidden = reads.length > 0;
    none.firstChild.textContent = filter.isSet() ? "No read passes this filter." : "No reads yet.";
    more.hidden = cursor === null;
    setText(shown, reads.length ? `${count(reads.length, "read")} shown` : "");
  }

  none.hidden = more.hidden = true;
  changed();
  return {
    node,
    update: refresh,
    stale: () => (isStale = true),
    choose: filter.choose,
    setEpochs: filter.setEpochs,
  };
}
