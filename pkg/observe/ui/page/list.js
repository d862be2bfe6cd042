// A list of any length: only the rows in sight are in the document. It takes the
// arrow keys, Home, End, Page Up and Page Down; Enter opens a row.

import { h, put, unpressed } from "./dom.js";
import { count } from "./format.js";

const rowHeight = 34; // pixels, as in base.css
const margin = 8; // rows beyond what is in sight

let lists = 0;

export class List {
  // columns are {title, cell(row), class}; key(row) names a row; open(row) is called
  // for a row that is clicked. If fixed is set, rows of one key are alike. If newest is
  // set, rows come in at the top, and the list says how many have come out of sight.
  constructor({ label, name, columns, key, open, rowClass, newest, fixed }) {
    Object.assign(this, { columns, key, open, rowClass, fixed });
    this.id = `list${++lists}`;
    this.rows = [];
    this.drawn = new Map(); // what is in the document, by key
    this.current = -1;
    this.space = h("div", { class: "space", role: "presentation" });
    this.view = h("div", { class: "rows", role: "presentation" });
    this.body = h("div", {
      class: "body", tabindex: 0, role: "grid", "aria-label": label, "aria-colcount": columns.length,
      onscroll: () => this.later(), onkeydown: (e) => this.press(e), onclick: (e) => this.click(e),
      onpointerenter: () => { this.over = true; }, onpointerleave: () => this.leave(),
    }, this.space, this.view);
    this.empty = h("p", { class: "empty", role: "status" });
    this.above = 0; // rows that have come in, out of sight
    this.newer = newest && h("button", { type: "button", class: "newer", hidden: true, onclick: () => { this.body.scrollTop = 0; } });
    this.element = h("div", { class: `list ${name}` },
      h("div", { class: "row head", "aria-hidden": "true" }, columns.map((c) => h("span", { class: c.class }, c.title))),
      this.body, this.empty, this.newer || []);
    new ResizeObserver(() => this.draw()).observe(this.body);
  }

  // set shows rows. What is in sight stays so if rows come in before it, and what is
  // under the pointer stays there.
  set(rows, nothing = "Nothing here.") { unpressed(this.body, () => this.renew(rows, nothing)); }

  renew(rows, nothing) {
    const top = this.body.scrollTop;
    const first = Math.floor(top / rowHeight);
    const seen = (top > 0 || this.over) && this.rows[first] && this.key(this.rows[first]);
    this.rows = rows;
    this.space.style.height = `${rows.length * rowHeight}px`;
    this.body.setAttribute("aria-rowcount", rows.length);
    put(this.empty, rows.length ? "" : nothing);
    if (seen) {
      const now = rows.findIndex((r) => this.key(r) === seen);
      if (now >= 0 && now !== first) this.body.scrollTop = top + (now - first) * rowHeight;
      this.above = now < 0 ? 0 : Math.max(0, this.above + now - first);
      if (this.over && (!top || top === this.held)) this.held = this.body.scrollTop;
    }
    this.mark(this.selected);
  }

  // leave shows the first rows again, if it was only the pointer that held others in
  // sight.
  leave() {
    this.over = false;
    if (this.held && this.held === this.body.scrollTop) this.body.scrollTop = 0;
    this.held = 0;
  }

  // mark shows which row is open.
  mark(key) {
    this.selected = key;
    this.current = key === undefined ? -1 : this.rows.findIndex((r) => this.key(r) === key);
    this.draw();
  }

  reveal() {
    const top = this.current * rowHeight;
    const height = this.body.clientHeight;
    if (this.current < 0) return;
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    else if (top + rowHeight > this.body.scrollTop + height) this.body.scrollTop = top + rowHeight - height;
  }

  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  draw() {
    const from = Math.max(0, Math.floor(this.body.scrollTop / rowHeight) - margin);
    const to = Math.min(this.rows.length, Math.ceil((this.body.scrollTop + this.body.clientHeight) / rowHeight) + margin);
    this.view.style.transform = `translateY(${from * rowHeight}px)`;
    const before = this.drawn;
    this.drawn = new Map();
    for (const row of this.rows.slice(from, to)) {
      const old = before.get(this.key(row));
      this.drawn.set(this.key(row), old && (this.fixed || old.row === row) ? old : { row, element: this.draft(row) });
    }
    // Rows that stay are not taken out: one of them may be pressed.
    for (const [key, { element }] of before) if (this.drawn.get(key)?.element !== element) element.remove();
    let next = this.view.firstChild;
    let i = from;
    for (const { element } of this.drawn.values()) {
      if (element === next) next = next.nextSibling;
      else this.view.insertBefore(element, next);
      this.place(element, i++);
    }
    if (this.current >= from && this.current < to) this.body.setAttribute("aria-activedescendant", `${this.id}-${this.current}`);
    else this.body.removeAttribute("aria-activedescendant");
    if (this.newer) this.tellNewer();
  }

  tellNewer() {
    if (this.body.scrollTop < rowHeight) this.above = 0;
    this.newer.hidden = !this.above;
    put(this.newer, `${count(this.above)} newer ↑`);
  }

  draft(row) {
    return h("div", { class: `row ${this.rowClass?.(row) ?? ""}`, role: "row" }, this.columns.map((c) => {
      const content = c.cell(row);
      return h("span", { class: c.class, role: "gridcell", title: typeof content === "string" ? content : undefined }, content);
    }));
  }

  place(element, i) {
    element.id = `${this.id}-${i}`;
    element.dataset.index = i;
    element.setAttribute("aria-rowindex", i + 1);
    element.setAttribute("aria-selected", i === this.current);
  }

  click(event) {
    const row = event.target.closest("[data-index]");
    if (row && !event.target.closest("a")) this.choose(Number(row.dataset.index));
  }

  choose(i) {
    this.current = i;
    this.selected = this.key(this.rows[i]);
    this.draw();
    this.open(this.rows[i]);
  }

  press(event) {
    const page = Math.max(1, Math.floor(this.body.clientHeight / rowHeight) - 1);
    const last = this.rows.length - 1;
    const to = {
      ArrowDown: this.current + 1, ArrowUp: this.current - 1, Home: 0, End: last,
      PageDown: this.current + page, PageUp: this.current - page,
    }[event.key];
    if (last < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" && this.current >= 0) this.choose(this.current);
    else if (to !== undefined) {
      this.current = Math.min(last, Math.max(0, to));
      this.selected = this.key(this.rows[this.current]);
      this.reveal();
      this.draw();
    } else return;
    event.preventDefault();
  }
}
