// Elements are made here and nowhere else. Whatever is shown becomes a text node
// or an attribute, never markup: names of pods and policies are others' input.

const svgSpace = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// h returns an HTML element. Properties that begin with "on" are listeners.
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

// s returns an SVG element.
export const s = (tag, props, ...children) => fill(document.createElementNS(svgSpace, tag), props, children);

// put replaces what an element holds.
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// A click is one only if what was pressed is still there when it is let go. So
// nothing is drawn anew under a pointer that is pressed.
let pressed; // the element under it
const waiting = new Map(); // what is to be drawn, by element

function letGo() {
  pressed = undefined;
  // The click comes right after this.
  requestAnimationFrame(() => {
    if (pressed) return;
    for (const [element, draw] of waiting) {
      waiting.delete(element);
      draw();
    }
  });
}

addEventListener("pointerdown", (e) => { pressed = e.target; }, true);
addEventListener("pointerup", letGo, true);
addEventListener("pointercancel", letGo, true);
// It may have been let go outside of the window.
addEventListener("pointermove", (e) => { if (pressed && !e.buttons) letGo(); }, true);

// unpressed draws what an element holds, or has it drawn once the pointer that is
// pressed in there is let go. Of several drawings the last counts.
export function unpressed(element, draw) {
  waiting.delete(element);
  if (pressed && element.contains(pressed)) waiting.set(element, draw);
  else draw();
}

// renew is put for what is drawn again and again: what had the focus has it still,
// and what is pressed can be clicked.
export const renew = (element, ...children) => unpressed(element, () => again(element, children));

function again(element, children) {
  const before = element.contains(document.activeElement) && document.activeElement !== element ? document.activeElement : undefined;
  put(element, ...children);
  if (before) [...element.querySelectorAll(before.tagName)].find((e) => e.textContent === before.textContent && e.getAttribute("href") === before.getAttribute("href"))?.focus();
}

// debounce returns a function that calls fn once, when it was not called for a
// while, in milliseconds.
export function debounce(fn, wait) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...args), wait);
  };
}
