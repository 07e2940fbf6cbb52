// Lines that came under a number which another line has: both, side by side, until somebody has looked at them.

import { say } from "./dialog.js";
import { h, keyed } from "./dom.js";
import { received, streamName } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, path } from "./http.js";
import { badge, button, empty, failure } from "./parts.js";
import { onEvent, serverNow, state } from "./state.js";

const PAGE = 20;

/** Returns {title, node, update(), close()}. */
export function conflictsPage() {
  const list = h("ul", { class: "conflicts" });
  const show = keyed(list, {
    key: (each) => `${each.conflict_id} ${each.acknowledged_at}`,
    make: (each) => ({ node: conflict(each, first.again) }),
  });
  const none = empty(
    "No conflicts.",
    h("p", {}, "Every number of every reader has one line, and always had."),
  );
  const first = fresh(() => load(null));
  const said = h("div");
  const more = button("Older conflicts", older);
  const node = h(
    "div",
    {},
    h("h1", {}, "Conflicts"),
    h(
      "p",
      { class: "lead" },
      "A device sent another line under a number that was taken. The first line was kept, the other was set aside, here.",
    ),
    first.said,
    said,
    list,
    none,
    h("div", { class: "buttons" }, more),
  );
  none.hidden = more.hidden = true;
  let conflicts = [];
  let cursor = null;

  async function load(from) {
    const page = await ask("GET", path(["conflicts"], { cursor: from, limit: PAGE }));
    conflicts = from === null ? page.conflicts : [...conflicts, ...page.conflicts];
    cursor = page.next_cursor;
    said.replaceChildren();
    show(conflicts);
    none.hidden = conflicts.length > 0;
    more.hidden = cursor === null;
  }

  async function older() {
    try {
      await load(cursor);
    } catch (error) {
      said.replaceChildren(failure(error));
    }
  }

  // A page that was paged further stays: what it would be replaced by is the first page.
  const close = onEvent((event) => {
    const moved = event.streams?.some((row) => "conflict_count" in row || "open_conflicts" in row);
    if ((moved || event.type === "resync") && conflicts.length <= PAGE) first.mark();
  });
  first.refresh();
  return { title: "Conflicts", node, update: first.refresh, close };
}

function conflict(each, changed) {
  const level = badge({ act: "open", good: "seen" });
  level.update(each.acknowledged_at === null ? "act" : "good");
  const card = state.streams.get(each.stream_id);
  const name = card ? streamName(card) : each.stream_id;
  const said = h("div");
  const acknowledge = button(
    "I have seen it",
    async () => {
      try {
        await ask("POST", path(["conflicts", each.conflict_id, "acknowledge"]));
        say("The conflict is acknowledged.");
        changed();
      } catch (error) {
        said.replaceChildren(failure(error));
      }
    },
    { "aria-label": `I have seen the conflict at number ${each.seq} of ${name}` },
  );
  return h(
    "li",
    { class: "conflict" },
    h(
      "header",
      {},
      level.node,
      h("a", { href: `#/stream/${each.stream_id}` }, name),
      h("span", { class: "num" }, `epoch ${each.stream_epoch}, number ${each.seq}`),
      h("span", { class: "num" }, `received ${received(each.received_at, serverNow())}`),
      each.acknowledged_at === null ? acknowledge : null,
    ),
    said,
    h(
      "div",
      { class: "pair" },
      each.kept_line === null
        ? h("figure", {}, h("figcaption", {}, "Kept"), h("p", {}, "This read was deleted since."))
        : line("Kept", each.kept_line, each.rejected_line),
      line("Set aside", each.rejected_line, each.kept_line ?? each.rejected_line),
    ),
  );
}

function line(label, text, other) {
  return h("figure", {}, h("figcaption", {}, label), h("p", { class: "mono" }, differences(text, other)));
}

// Lines of one reader are of one form, so what differs stands at the same place.
function differences(text, other) {
  const runs = [];
  for (let at = 0; at < text.length; at += 1) {
    const differs = text[at] !== other[at];
    if (runs.length && runs.at(-1).differs === differs) runs.at(-1).text += text[at];
    else runs.push({ differs, text: text[at] });
  }
  return runs.map((run) => (run.differs ? h("mark", {}, run.text) : run.text));
}
