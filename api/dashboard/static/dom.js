// Elements out of data. Text becomes text nodes and attributes go through setAttribute, so nothing that a device
// says can become markup; there is no other way to make elements in this page.

const SVG = "http://www.w3.org/2000/svg";

/** Returns an element. `on` holds listeners, true and false set or leave out an attribute, null children are left out. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** Returns an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(node, { on = {}, ...attributes }, children) {
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Sets an attribute if it is another; true is an empty one, false and null are none. */
export function setAttribute(node, name, value) {
  if (/^on|^style$|^srcdoc$/i.test(name)) throw new Error(`${name} is not set here`);
  if (value === false || value === null || value === undefined) return node.removeAttribute(name);
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** Sets a node's text if it is another, so that a number that stays costs nothing. */
export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/**
 * Returns a function that makes the children of `parent` those of a list, in its order. Each item keeps its node by
 * its key: `make(item)` returns {node, update(item)}, where update is optional and called at once, too.
 */
export function keyed(parent, { key, make }) {
  const parts = new Map();
  return (items) => {
    const wanted = new Set();
    let at = parent.firstElementChild;
    for (const item of items) {
      const name = key(item);
      wanted.add(name);
      if (!parts.has(name)) parts.set(name, make(item));
      const part = parts.get(name);
      part.update?.(item);
      if (part.node === at) at = at.nextElementSibling;
      else place(parent, part.node, at);
    }
    for (const [name, part] of parts) {
      if (wanted.has(name)) continue;
      part.node.remove();
      parts.delete(name);
    }
  };
}

/** Puts a node before another; moveBefore, where there is one, keeps the focus in what it moves. */
export function place(parent, node, before) {
  if (node.parentNode === parent && parent.moveBefore) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
}
