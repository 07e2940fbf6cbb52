// The certificate of a race: whether every read is there, or why not, on one sheet of paper. All that it says the server has
// computed and signed; the file of it is what can be verified, paper is for people.

import { h } from "./dom.js";
import { count, number, typed, withTimes, zoneNow } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, ifThere, path } from "./http.js";
import { badge, button, empty } from "./parts.js";
import { serverNow } from "./state.js";

// Of a million reads the digests are made for some seconds, and for longer where others are busy.
const WITHIN_MS = 45000;
// What each costs the server is the same again: what is refused for what it is stays refused.
const PASSES = ["UNAVAILABLE", "UNREACHABLE"];
// More fit on no sheet; the file has all.
const MOST_REASONS = 12;
const MOST_UNKNOWN = 6;

/** Returns {title, node, update(), close()}. */
export function certificatePage(race_id) {
  const at = path(["certificate"], { race_id });
  const sheet = h("article", { class: "sheet", "aria-label": "Certificate", "aria-busy": "true" });
  const missing = empty("There is no such race.", h("p", {}, h("a", { href: "#/races" }, "All races")));
  const list = fresh(load, { passes: (error) => PASSES.includes(error.code) });
  let file = null;
  const save = h("a", { class: "button plain", download: true }, "Save the file");
  const acts = h(
    "div",
    { class: "buttons no-print" },
    h("a", { class: "button plain", href: `#/race/${encodeURIComponent(race_id)}` }, "Back to the race"),
    button("Certify again", () => list.again()),
    button("Print", () => print(), { kind: "primary" }),
    save,
  );
  const node = h("div", {}, acts, list.said, sheet, missing);
  missing.hidden = true;
  acts.hidden = true;

  async function load() {
    sheet.setAttribute("aria-busy", "true");
    const said = await ifThere(ask("GET", at, { withinMs: WITHIN_MS }));
    missing.hidden = said !== null;
    acts.hidden = said === null;
    sheet.replaceChildren(...(said ? written(said, race_id) : []));
    sheet.setAttribute("aria-busy", "false");
    if (said) offer(said);
  }

  // The very answer: whoever verifies the file needs every field of it.
  function offer(said) {
    if (file) URL.revokeObjectURL(file);
    file = URL.createObjectURL(new Blob([JSON.stringify(said, null, 1)], { type: "application/json" }));
    save.href = file;
    save.download = `certificate_${said.race.name.replace(/[^\w.-]+/g, "_").slice(0, 80)}.json`;
  }

  const close = () => file && URL.revokeObjectURL(file);
  list.refresh();
  return { title: "Certificate", node, update: list.refresh, close };
}

function written(said, race_id) {
  const whole = said.verdict === "complete";
  const level = badge();
  level.update(whole ? "good" : "act", whole ? "complete" : "incomplete");
  const now = serverNow();
  return [
    h("p", { class: "hint" }, "Certificate of what is stored"),
    h("h1", {}, said.race.name),
    h("p", { class: "sheet-verdict" }, level.node, h("strong", {}, `${number(said.read_count)} of ${number(said.expected_count)} reads`), `as of ${dated(said.issued_at, now)}`),
    whole
      ? h("p", { class: "sheet-whole" }, "No number is missing, no conflict is open, nothing was deleted or changed, and every receiver that is waited for has all of it.")
      : reasons(said.reasons, race_id),
    parts(said.parts),
    ...unknown(said),
    h("p", { class: "hint" }, "Nobody here can know whether a forwarder holds reads behind its last number. When it was heard of last stands beside what came from it."),
    signed(said.signature),
  ];
}

// On paper nobody knows which day it was.
const dated = (text, now) => `${typed(text).replace("T", " ")} (${zoneNow(now).said})`;

// Each leads to where it is mended, or looked at.
const LEADS = {
  conflicts: () => "#/conflicts",
  dead_letters: () => "#/log",
  owed: () => "#/devices",
};

function whither({ code, stream_id }, race_id) {
  if (LEADS[code]) return LEADS[code]();
  return stream_id ? `#/stream/${stream_id}` : `#/race/${encodeURIComponent(race_id)}`;
}

function reasons(found, race_id) {
  const shown = found.slice(0, MOST_REASONS).map((each) => h("li", {}, h("a", { href: whither(each, race_id) }, withTimes(each.text, serverNow()))));
  const left = found.length - shown.length;
  return h("section", { "aria-label": "Why" }, h("ul", { class: "sheet-reasons" }, shown, left > 0 && h("li", {}, `${count(left, "more reason")}, in the file.`)));
}

// The last of them are of the forwarders, one each: they stand in the table.
function unknown({ cannot_know, parts }) {
  const forwarders = new Set(parts.map((each) => each.forwarder_id)).size;
  const found = cannot_know.slice(0, cannot_know.length - forwarders);
  if (found.length === 0) return [];
  const shown = found.slice(0, MOST_UNKNOWN).map((text) => h("li", {}, withTimes(text, serverNow())));
  const left = found.length - shown.length;
  const more = left > 0 && h("li", {}, `${count(left, "more thing")}, in the file.`);
  return [h("section", { "aria-label": "What nobody here can know" }, h("p", {}, "Nobody here can know:"), h("ul", {}, shown, more))];
}

const HEADS = ["Where", "Epoch", "Reads", "Late", "Again", "Receivers", "Heard of last", "Digest"];

function parts(all) {
  const table = h(
    "table",
    {},
    h("caption", {}, "What is certified"),
    h("thead", {}, h("tr", {}, HEADS.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, all.map(row)),
  );
  return h("div", { class: "scrolls", tabindex: "0", role: "group", "aria-label": "What is certified, a box that scrolls" }, table);
}

function row(part) {
  const where = part.point && part.point !== part.title ? `${part.point} · ${part.title}` : part.title;
  const cut = part.from_seq > 1 || part.to_seq !== null ? `, from ${number(part.first_seq)} to ${number(part.last_seq)}` : "";
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, where),
    h("td", {}, `${part.stream_epoch}${part.epoch_name ? ` ${part.epoch_name}` : ""}${cut}`),
    h("td", {}, `${number(part.read_count)} of ${number(part.expected_count)}`),
    h("td", {}, number(part.late_count)),
    h("td", {}, number(part.retransmit_count)),
    h("td", {}, receivers(part.receivers)),
    h("td", {}, typed(part.forwarder.last_heard_at).replace("T", " ") || "never"),
    h("td", { class: "mono" }, `${part.digest.slice(0, 16)}…`),
  );
}

// Those that somebody waits for: who had reads once is in the file.
function receivers(all) {
  const waited = all.filter((each) => each.expected && each.wanted);
  const done = waited.filter((each) => each.owed === 0).length;
  if (waited.length === 0) return "none";
  return done === waited.length ? `all ${number(done)}` : `${number(done)} of ${number(waited.length)}`;
}

function signed({ key, value }) {
  return h(
    "div",
    { class: "signed" },
    h("p", {}, "Signed by the key ", h("span", { class: "mono" }, key), ". Verify the file: ", h("span", { class: "mono" }, `rt-server certificate verify FILE --key ${key} --export EXPORT.csv`)),
    h("p", { class: "mono" }, value),
  );
}
