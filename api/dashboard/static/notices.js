// What people were told of alerts, beyond the page: notices that were sent, that are tried, and that were given up.

import { h, setText } from "./dom.js";
import { time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { badge, empty } from "./parts.js";
import { rows } from "./rows.js";
import { serverNow } from "./state.js";

// What becomes of one changes nothing else that the page shows, so no event tells of it.
const EVERY_MS = 10_000;

/** Returns {node, update()}: a line that says how it goes, and opens. */
export function noticeList() {
  const table = rows(COLUMNS, { label: "Notices", kind: "notices", key: (each) => each.notice_id });
  const to = h("p", { class: "quiet" });
  const none = empty("Nobody was told of anything yet.");
  const asked = fresh(load, { everyMs: EVERY_MS });
  const summary = h("summary", {}, "Told to people");
  const node = h("details", {}, summary, asked.said, to, table.node, none);

  async function load() {
    const answer = await ask("GET", "api/v1/alerts/notices");
    setText(summary, `Told to people: ${counted(answer)}`);
    setText(
      to,
      answer.to.length
        ? `Who is told of red alerts: ${answer.to.join(", ")}.`
        : "Nobody is told of red alerts: ALERT_URLS is not set.",
    );
    table.update(answer.notices);
    table.node.hidden = answer.notices.length === 0;
    none.hidden = answer.notices.length > 0 || answer.to.length === 0;
  }

  const update = () => {
    asked.mark();
    asked.refresh();
  };
  update();
  return { node, update };
}

function counted({ to, notices }) {
  if (!to.length && !notices.length) return "nobody";
  const of = (wanted, words) => {
    const found = notices.filter((each) => each.state === wanted).length;
    return found ? [`${found} ${words}`] : [];
  };
  const said = [...of("given_up", "given up"), ...of("due", "being tried"), ...of("sent", "sent")];
  return said.join(", ") || "nothing yet";
}

// Each with its colour, or none where nothing is wrong.
const STATES = {
  due: ["watch", "being tried"],
  taken: [null, "on its way"],
  sent: [null, "sent"],
  given_up: ["act", "given up"],
  dropped: [null, "not sent"],
};

function state(first) {
  const node = h("span");
  let shown = null;
  const update = (each) => {
    if (each.state === shown) return;
    shown = each.state;
    // A process of the next release may know another.
    const [level, words] = STATES[each.state] ?? [null, each.state];
    if (level === null) {
      node.replaceChildren(h("span", { class: "quiet" }, words));
      return;
    }
    const made = badge({ [level]: words });
    made.update(level);
    node.replaceChildren(made.node);
  };
  update(first);
  return { node, update };
}

const tries = (each) => (each.tries > 1 ? `${each.tries} tries` : "");
const became = (each) =>
  [
    each.state === "dropped" && "over, or known, before it went",
    each.reached.length > 0 && `reached ${each.reached.join(", ")}`,
    each.problem !== null && each.problem,
    tries(each),
  ]
    .filter(Boolean)
    .join(" · ");

const COLUMNS = [
  { title: "At", kind: "num plain", text: (each) => time(each.told_at ?? each.made_at, serverNow()) },
  { title: "State", kind: "tight", part: state },
  { title: "Told", kind: "strong grow", text: (each) => each.title ?? (each.kind === "red" ? "what is red" : "what is over") },
  { title: "To whom", kind: "plain", text: became },
];
