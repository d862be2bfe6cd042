// The pipeline as a picture: the tables in order, what passes them, and the way
// of a traced packet.

import { s, h, put } from "./dom.js";
import { rate, count, plural, short } from "./format.js";
import { allows, denies } from "./objects.js";
import { layout, way, path, box } from "./layout.js";

export class Picture {
  // choose(name) is called for a table that is clicked.
  constructor(choose) {
    this.choose = choose;
    this.svg = s("svg", { class: "picture", role: "group", "aria-label": "The tables of the pipeline" });
    this.element = h("div", { class: "canvas" }, this.svg);
    this.tables = [];
    this.boxes = new Map();
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  // set shows tables; where they are those of before, only numbers change.
  set(tables, rates) {
    const shape = (ts) => JSON.stringify(ts.map((t) => [t.name, t.stage, t.leads]));
    const same = shape(tables) === shape(this.tables);
    this.tables = tables;
    this.rates = rates;
    if (same && this.boxes.size) this.update();
    else this.draw();
  }

  // trace shows a way: the names of the tables with what the packet met, or null.
  trace(explanation) {
    this.explanation = explanation;
    this.draw();
  }

  select(name) {
    this.selected = name;
    for (const [table, b] of this.boxes) b.group.classList.toggle("chosen", table === name);
  }

  draw() {
    const style = getComputedStyle(this.element);
    const width = this.element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (!(width > 0) || !this.tables.length) return;
    const focused = document.activeElement?.dataset?.table;
    const plan = layout(this.tables, width);
    this.svg.setAttribute("viewBox", `0 0 ${plan.width} ${plan.height}`);
    this.svg.setAttribute("width", plan.width);
    this.svg.setAttribute("height", plan.height);
    this.boxes.clear();
    const steps = this.steps();
    put(this.svg, arrows(), this.ways(plan), this.traced(plan, steps),
      plan.titles.map((t) => s("text", { class: "stage", x: t.x, y: t.y }, t.text)),
      this.tables.map((t) => this.box(plan, t, steps)));
    this.svg.classList.toggle("tracing", steps.length > 0);
    this.update();
    this.select(this.selected);
    if (focused) this.boxes.get(focused)?.group.focus();
  }

  // steps are the tables of the trace in order, each once for as long as the packet
  // stays in it.
  steps() {
    const out = [];
    for (const step of this.explanation?.steps ?? []) {
      if (out.at(-1)?.table !== step.table) out.push({ ...step });
      else Object.assign(out.at(-1), step);
    }
    return out;
  }

  ways(plan) {
    // Nearly every table leads to those that drop: their ways would hide the others.
    const drawn = (name) => !this.tables.some((t) => t.name === name && t.drops);
    const all = this.tables.flatMap((t) => (t.leads ?? []).filter(drawn).map((to) => s("path", { d: path(way(plan, t.name, to)), "marker-end": "url(#arrow)" })));
    return s("g", { class: "ways", "aria-hidden": "true" }, all);
  }

  traced(plan, steps) {
    const verdict = this.explanation?.verdict === "allowed" ? "allowed" : "denied";
    const lines = steps.slice(1).map((step, i) => s("path", { d: path(way(plan, steps[i].table, step.table)), "marker-end": `url(#arrow-${verdict})` }));
    return s("g", { class: `traced ${verdict}`, "aria-hidden": "true" }, lines);
  }

  box(plan, table, steps) {
    const p = plan.places.get(table.name);
    const at = steps.findIndex((step) => step.table === table.name);
    const last = at >= 0 && at === steps.length - 1;
    const way = at < 0 ? "" : `visited ${last ? `last ${this.explanation.verdict}` : ""} ${denies(steps[at]) ? "denies" : allows(steps[at]) ? "allows" : ""}`;
    const spark = s("path", { class: "spark", transform: `translate(0 ${box.height - 20})` });
    const flows = s("text", { class: "flows", x: 10, y: 37 });
    const passing = s("text", { class: "rate", x: p.width - 10, y: 37 });
    const dropping = s("text", { class: "dropping", x: 10, y: 53 });
    const activate = () => this.choose(table.name);
    const group = s("g", {
      class: `table ${way}`, transform: `translate(${p.x} ${p.y})`, tabindex: 0, role: "button", "data-table": table.name,
      onclick: activate, onkeydown: (e) => {
        if (e.key !== "Enter" && e.key !== " ") return;
        e.preventDefault();
        activate();
      },
    },
    s("title", null, `${table.name}: ${table.job}`),
    s("rect", { class: "plate", width: p.width, height: box.height, rx: 7 }), spark,
    s("text", { class: "name", x: 10, y: 20, textLength: table.name.length * 7.6 > p.width - 20 ? p.width - 20 : undefined, lengthAdjust: "spacingAndGlyphs" }, table.name),
    flows, passing, dropping,
    at >= 0 && s("g", { class: "step", transform: `translate(${p.width - 2} 2)` }, s("circle", { r: 10 }), s("text", { y: 4 }, last && this.explanation.verdict !== "allowed" ? "✕" : at + 1)));
    this.boxes.set(table.name, { group, flows, passing, dropping, spark, width: p.width });
    return group;
  }

  update() {
    const peak = Math.max(1, ...this.tables.flatMap((t) => this.rates.history(t.name)));
    for (const table of this.tables) {
      const b = this.boxes.get(table.name);
      if (!b) continue;
      const passing = this.rates.table(table.name);
      const drops = this.rates.drops(table.name);
      put(b.flows, b.width < 130 ? short(table.flows) : plural(table.flows, "flow"));
      put(b.passing, rate(passing));
      put(b.dropping, drops > 0 ? `drops ${rate(drops)}` : "");
      b.spark.setAttribute("d", sparkline(this.rates.history(table.name), b.width, 19, peak));
      b.group.setAttribute("aria-label",
        `${table.name}: ${passing === undefined ? "" : `${short(passing)} packets a second, `}${count(table.flows)} flows${drops > 0 ? `, drops ${short(drops)} a second` : ""}`);
    }
  }
}

const arrow = (id) => s("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto" },
  s("path", { d: "M0 .5L7.5 4L0 7.5z" }));

const arrows = () => s("defs", null, arrow("arrow"), arrow("arrow-allowed"), arrow("arrow-denied"));

// sparkline is the area under the values, the newest at the right edge. Its height
// follows their square root: few packets are to be seen beside many.
export function sparkline(values, width, height, peak, places = 60) {
  if (values.length < 2 || !values.some((v) => v > 0)) return "";
  const step = (width - 2) / (places - 1);
  const x0 = width - 1 - (values.length - 1) * step;
  const points = values.map((v, i) => `L${(x0 + i * step).toFixed(1)} ${(height - Math.sqrt(v / peak) * (height - 1)).toFixed(1)}`);
  return `M${x0.toFixed(1)} ${height}${points.join("")}L${(width - 1).toFixed(1)} ${height}z`;
}
