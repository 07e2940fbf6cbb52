// The page of one person, or of a chip: what was read of her, and links that show just that to others.

import { toCopy } from "./copy.js";
import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, ifThere, path } from "./http.js";
import { button, empty, field } from "./parts.js";
import { onEvent, racesChanged, serverNow } from "./state.js";
import { timeline } from "./timeline.js";

const EVERY_MS = 5000;

export const personPage = (race_id, bib) => onePage(["races", race_id, "bibs", bib], "There is nobody with this bib in this race.");
export const chipPage = (chip) => onePage(["chips", chip], "There is no such chip.");

function onePage(of, nobody) {
  const shown = timeline();
  const body = h("div", {}, shown.node, links(of));
  const missing = empty(nobody);
  const list = fresh(load, { everyMs: EVERY_MS });
  const node = h("div", {}, list.said, body, missing);
  body.hidden = missing.hidden = true;

  async function load() {
    const found = await ifThere(ask("GET", path([...of, "timeline"])));
    missing.hidden = found !== null;
    body.hidden = found === null;
    if (found) shown.show(found);
  }

  const close = onEvent((event) => {
    if (racesChanged(event)) list.hurry();
    else if (event.streams || event.reads) list.mark();
  });
  list.refresh();
  return { title: "Find anybody", node, update: list.refresh, close };
}

function links(of) {
  const made = h("div");

  async function make() {
    const hours = h("input", { type: "number", name: "hours", min: 1, max: 168, value: 24, required: true });
    const link = await askFirst("Make a link", {
      body: [h("p", {}, "Whoever has it sees what stands on this page, and nothing else.")],
      controls: { hours: field("Valid for, in hours", hours) },
      verb: "Make it",
      act: (values) => ask("POST", path([...of, "link"]), { body: { hours: Number(values.hours) } }),
    });
    if (!link) return;
    const until = h("p", { class: "hint" }, `Valid until ${time(link.expires_at, serverNow())}.`);
    made.replaceChildren(toCopy("Link", new URL(link.path, document.baseURI).href), until);
  }

  async function withdraw() {
    const done = await askFirst("Withdraw all links", {
      body: [h("p", {}, "All links to anybody, whoever made them, show nothing any more.")],
      verb: "Withdraw them",
      kind: "danger",
      act: () => ask("DELETE", path(["links"])),
    });
    if (done === undefined) return;
    made.replaceChildren();
    say("All links are withdrawn.");
  }

  return h("section", { "aria-label": "Links" }, h("div", { class: "buttons" }, button("Make a link…", make), button("Withdraw all links…", withdraw)), made);
}
