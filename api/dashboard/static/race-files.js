// The two files of a race, dropped or chosen together. The server looks at them first and changes nothing: what is wrong
// is shown by line, and only what is right can be imported; not over people or chips that came meanwhile from somebody
// else.

import { say } from "./dialog.js";
import { h } from "./dom.js";
import { dropZone } from "./drop.js";
import { count, number } from "./format.js";
import { path } from "./http.js";
import { button, failure, shape } from "./parts.js";
import { upload } from "./transfer.js";

// A file says by its name what it is: a list of people has no header that would tell it from a list of chips.
const KINDS = [
  { kind: "participants", ends: /\.ppl$/i, one: "person", many: "people" },
  { kind: "chips", ends: /\.(bibchip|csv|txt)$/i, one: "chip", many: "chips" },
];

/** Returns the node; race() is the race as it is known, `changed` is called when something was imported. */
export function raceFiles(race_id, race, changed) {
  const found = h("div", { "aria-live": "polite" });
  const zone = dropZone("Drop both files here, people (.ppl) and chips (.bibchip), or choose them.", {
    multiple: true,
    accept: ".ppl,.bibchip,.csv,.txt",
    label: "Files of people (.ppl) and chips (.bibchip)",
    take: look,
  });
  let turn = 0;

  async function look(files) {
    const mine = ++turn;
    // What an import replaces is what stood on the page when its files were chosen.
    const { roster_changed_at } = race();
    found.replaceChildren(h("p", {}, `Looking at ${files.map((each) => each.name).join(", ")} …`));
    const looked = await Promise.all(files.map((file) => lookAt(race_id, file)));
    if (mine === turn) show(looked, roster_changed_at);
  }

  function show(looked, since) {
    const good = looked.filter((each) => each.answer);
    const names = good.map((each) => each.file.name).join(" and ");
    const go = button(`Import ${names}`, () => store(good, since, go), { kind: "primary" });
    found.replaceChildren(
      ...looked.map(told),
      h("p", { class: "hint" }, "Nothing is changed yet. An import replaces all that the race has of its kind."),
      h("div", { class: "buttons" }, good.length ? go : null, button("Forget them", clear)),
    );
  }

  async function store(good, since, go) {
    go.disabled = true;
    const [left, done] = [[...good], []];
    try {
      while (left.length) {
        const [{ kind, file }] = left;
        const answer = await upload(target(race_id, kind, { expected_roster_changed_at: since }), file);
        // The next one replaces what this one has left.
        since = answer.roster_changed_at;
        left.shift();
        done.push(counted(kind, answer.imported));
      }
      clear();
    } catch (error) {
      refused(error, left.map(({ file }) => file));
    }
    if (done.length) say(`${done.join(" and ")} imported.`);
    changed();
  }

  // What is there by now is shown below; whoever wants to replace it all the same looks at the files once more.
  function refused(error, files) {
    const again = button("Look at the files again", () => look(files), { kind: "primary" });
    found.replaceChildren(failure(error), h("div", { class: "buttons" }, again, button("Forget them", clear)));
  }

  function clear() {
    turn += 1;
    zone.clear();
    found.replaceChildren();
  }
  return h("div", {}, zone.node, found);
}

const target = (race_id, { kind }, query = {}) => path(["races", race_id, kind, "upload"], query);
const counted = ({ one, many }, value) => count(value, one, many);

async function lookAt(race_id, file) {
  const kind = KINDS.find(({ ends }) => ends.test(file.name));
  if (!kind) return { file, error: { message: "Its name must end in .ppl (people) or .bibchip (chips)." } };
  try {
    return { file, kind, answer: await upload(target(race_id, kind, { dry_run: true }), file) };
  } catch (error) {
    return { file, kind, error };
  }
}

function told({ file, kind, answer, error }) {
  const head = h("h3", {}, file.name);
  if (error) return h("div", { class: "file", "data-level": "act" }, head, failure(error), badRows(error.details));
  const odd = answer.warnings.length > 0;
  const facts = [
    counted(kind, answer.imported),
    answer.skipped && `${count(answer.skipped, "line")} passed over`,
    answer.duplicates && `${number(answer.duplicates)} said twice`,
  ];
  return h(
    "div",
    { class: "file", "data-level": odd ? "watch" : "good" },
    head,
    h("p", { class: "good" }, shape(odd ? "watch" : "good"), facts.filter(Boolean).join(" · ")),
    lines(answer.warnings.map(({ line, message }) => [line, message])),
  );
}

const badRows = (details) => lines((details?.rows ?? []).map(({ line, reason, text }) => [line, `${reason}: ${text}`]));

function lines(found) {
  if (!found.length) return null;
  const items = found.map(([line, words]) => h("li", {}, h("span", { class: "num strong" }, `Line ${line} `), words));
  return h("ul", { class: "lines" }, items);
}
