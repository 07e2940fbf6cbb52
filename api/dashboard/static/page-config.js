// The configuration of a forwarder: read from the device, written back section by section, in its own words.

import { controlDevice, restartForwarder, SHUT_DOWN, START_ANEW } from "./device-actions.js";
import { say } from "./dialog.js";
import { h, setAttribute, setText } from "./dom.js";
import { ask, path } from "./http.js";
import { button, empty, failure, section } from "./parts.js";

/** Returns {title, node}. */
export function configPage(forwarder_id) {
  const sections = h("div");
  const said = h("div", { "aria-live": "polite" });
  const node = h(
    "div",
    {},
    h("p", { class: "back" }, h("a", { href: "#/devices" }, "All devices")),
    h(
      "div",
      { class: "name-line" },
      h("h1", {}, `Configuration of ${forwarder_id}`),
      h(
        "div",
        { class: "buttons" },
        button("Read again", load),
        button("Restart forwarder…", () => restartForwarder(forwarder_id).catch((error) => say(error.message))),
        button("Restart device…", () => controlDevice(forwarder_id, START_ANEW), { kind: "danger" }),
        button("Shut device down…", () => controlDevice(forwarder_id, SHUT_DOWN), { kind: "danger" }),
      ),
    ),
    said,
    sections,
  );

  async function load() {
    said.replaceChildren(h("p", {}, "Asking the forwarder …"));
    try {
      const { config, restart_needed, fingerprints } = await ask("GET", path(["forwarders", forwarder_id, "config"]));
      said.replaceChildren(...restartNote(restart_needed));
      sections.replaceChildren(...editors(config, fingerprints));
    } catch (error) {
      said.replaceChildren(failure(error), ...deviceWords(error));
    }
  }

  function editors(config, fingerprints) {
    const named =
      config !== null && typeof config === "object" && !Array.isArray(config) ? Object.entries(config) : [];
    if (!named.length)
      return [empty("The forwarder names no section.", h("pre", {}, JSON.stringify(config, null, 2)))];
    return named.map(([name, value]) => editor(forwarder_id, { name, value, said, as_read: fingerprints[name] }));
  }

  load();
  return { title: `Configuration of ${forwarder_id}`, node };
}

function editor(forwarder_id, { name, value, said, as_read }) {
  const text = h("textarea", {
    class: "mono",
    spellcheck: "false",
    autocomplete: "off",
    "aria-label": `Section ${name}`,
    // Read when the field is come to: it is another with every key.
    "aria-describedby": `problem-${name}`,
  });
  text.value = JSON.stringify(value, null, 2);
  text.rows = Math.min(24, text.value.split("\n").length + 1);
  const problem = h("p", { class: "hint", id: `problem-${name}` });
  const save = button("Save to forwarder", write, {
    kind: "primary",
    disabled: true,
    "aria-label": `Save to forwarder: section ${name}`,
  });
  let original = text.value;
  text.addEventListener("input", check);

  function check() {
    const wrong = problemOf(text.value);
    setText(problem, wrong ?? "");
    setAttribute(text, "aria-invalid", wrong === null ? null : "true");
    save.disabled = wrong !== null || text.value === original;
    return wrong === null;
  }

  async function write() {
    if (!check()) return;
    save.disabled = true;
    try {
      const written = text.value;
      // Whoever has changed it since it was read is not overruled unseen.
      const answer = await ask("POST", path(["forwarders", forwarder_id, "config", name], { expected: as_read }), {
        body: JSON.parse(written),
      });
      original = written;
      as_read = await readAgain();
      setText(problem, "The forwarder has taken it.");
      said.replaceChildren(...restartNote(answer.restart_needed));
      say(`The forwarder has taken section ${name}.`);
    } catch (error) {
      problem.replaceChildren(failure(error), ...deviceWords(error));
      save.disabled = false;
    }
  }

  async function readAgain() {
    try {
      return (await ask("GET", path(["forwarders", forwarder_id, "config"]))).fingerprints[name];
    } catch {
      return undefined;
    }
  }
  return section(name, { level: "h2", aside: save }, text, problem);
}

function problemOf(text) {
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return null;
    return "A section is a JSON object: { … }";
  } catch (error) {
    return `Not JSON yet: ${error.message}`;
  }
}

const restartNote = (needed) =>
  needed ? [h("p", { class: "note" }, "The forwarder uses what was changed only after a restart.")] : [];

const deviceWords = ({ details }) => (details ? [h("pre", {}, JSON.stringify(details, null, 2))] : []);
