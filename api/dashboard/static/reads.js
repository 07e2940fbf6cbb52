// The reads of a stream, the newest first, through the filter on the screen; the exports go through the same one.

import { h, setAttribute, setText } from "./dom.js";
import { feed, merged, readKey } from "./feed.js";
import { readFilter } from "./filters.js";
import { count } from "./format.js";
import { ask, path } from "./http.js";
import { button, empty, failure } from "./parts.js";
import { rows } from "./rows.js";
import { READ_COLUMNS } from "./tail.js";

const PAGE = 100;
const RETRY_MS = 3000;

/** Returns {node, update(), choose(epoch), setEpochs(epochs), close()}. */
export function readList(stream_id) {
  const filter = readFilter(changed);
  const table = rows(READ_COLUMNS, {
    label: "Reads",
    kind: "reads",
    key: readKey,
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
  // What the page had when it was asked for last, and what was known by then.
  let base = new Set();
  const news = feed({ wanted: chosen, most: PAGE, changed: take, failed: () => (isStale = true), again: changed });

  function chosen() {
    return { stream_id, tag_id: filter.wanted().tag_id };
  }

  function changed() {
    for (const { kind, link } of files)
      setAttribute(link, "href", path(["streams", stream_id, `export.${kind}`], filter.wanted()));
    isStale = true;
    paged = false;
    askedAt = -Infinity;
    news.restart();
    refresh();
  }

  // Who has gone back to older reads is not pulled to the newest.
  async function refresh() {
    if (!paged) news.refresh();
    if (!isStale || paged || performance.now() - askedAt < RETRY_MS) return;
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
    const known = news.reads().map(readKey);
    try {
      const page = await ask(
        "GET",
        path(["streams", stream_id, "reads"], { ...wanted, limit: PAGE, cursor: from }),
      );
      const found = page.reads.map((read) => ({ ...read, stream_id }));
      reads = from === null ? found : [...reads, ...found];
      if (from === null) base = new Set([...known, ...found.map(readKey)]);
      cursor = page.next_cursor;
      said.replaceChildren();
      show();
      if (from === null) take();
    } catch (error) {
      said.replaceChildren(failure(error));
      isStale = from === null;
    }
    busy = false;
    if (JSON.stringify(wanted) !== JSON.stringify(filter.wanted())) changed();
  }

  // What is older than the last one shown is on the next page. Where the news may not reach back to what was there, or
  // too much is shown, the page is asked for again: what lies between is on no screen else, and behind no button.
  function take() {
    if (paged) return;
    const last = reads.at(-1);
    const found = news.reads().filter((read) => passes(read) && (cursor === null || byNumber(read, last) < 0));
    const all = merged(reads, found, { order: byNumber, most: 2 * PAGE });
    isStale ||= all.length === 2 * PAGE || leavesHole();
    if (all.length === reads.length) return;
    reads = all;
    show();
  }

  // The news are the newest of all that came, in one piece; when there is room for no more of them, or their lines are
  // too long for one answer, some may have gone.
  const leavesHole = () => {
    const found = news.reads();
    return (found.length === PAGE || news.cut()) && !found.some((read) => base.has(readKey(read)));
  };

  function passes(read) {
    const { epoch, since, until } = filter.wanted();
    const at = Date.parse(read.received_at);
    return (
      (!epoch || read.stream_epoch === Number(epoch)) &&
      (!since || at >= Date.parse(since)) &&
      (!until || at <= Date.parse(until))
    );
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
    choose: filter.choose,
    setEpochs: filter.setEpochs,
    close: news.close,
  };
}

const byNumber = (a, b) => b.stream_epoch - a.stream_epoch || b.seq - a.seq;
