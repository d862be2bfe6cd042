// The view of the pipeline: the picture, a trace through it, and what is dropped.

import { h, put, renew } from "./dom.js";
import * as store from "./store.js";
import { rate, count, plural } from "./format.js";
import { Picture } from "./picture.js";
import { Rates } from "./rates.js";
import { TraceForm } from "./trace.js";
import { badge } from "./links.js";
import { reasons } from "./objects.js";

const wait = 1000; // milliseconds between readings of the counters

export class PipelineView {
  constructor() {
    this.rates = new Rates();
    this.picture = new Picture((name) => this.choose(name));
    this.trace = new TraceForm((explanation) => this.explained(explanation));
    this.dropped = h("tbody");
    this.details = h("section", { class: "panel", "aria-label": "The chosen table" });
    this.problem = h("p", { class: "problem", role: "alert" });
    this.element = h("div", { class: "view pipeline" },
      this.trace.form, this.problem,
      this.picture.element, this.trace.result,
      h("div", { class: "pair" },
        h("section", { class: "panel" }, h("h2", null, "Dropped, by reason"),
          h("table", null, h("thead", null, h("tr", null, ["Object", "Reason", "Now", "Packets"].map((t, i) => h("th", { scope: "col", class: i > 1 ? "number" : "" }, t)))), this.dropped)),
        this.details));
    store.on("pipeline", (pipeline) => this.heard(pipeline));
    store.every("pipeline", wait, () => this.shown);
    this.choose("");
  }

  show({ query }) {
    this.shown = true;
    store.refresh("pipeline");
    this.trace.show(query);
  }

  hide() { this.shown = false; }

  close() {
    if (location.hash.includes("?")) location.hash = "#/pipeline";
    this.choose("");
  }

  explained(explanation) {
    this.picture.trace(explanation);
  }

  heard(pipeline) {
    put(this.problem, store.failure("pipeline") ?? "");
    if (!pipeline || !this.rates.add(pipeline)) return;
    this.tables = pipeline.tables;
    this.picture.set(pipeline.tables, this.rates);
    renew(this.dropped, this.tables.flatMap((t) => (t.objects ?? []).filter((o) => o.drops).map((o) => {
      const now = this.rates.kind(t.name, o.kind);
      return h("tr", { class: now > 0 ? "hot" : "" }, h("th", { scope: "row" }, h("button", { class: "plain", onclick: () => this.choose(t.name) }, o.kind)),
        h("td", null, reasons[o.kind] ?? `dropped in ${t.name}`), h("td", { class: "number" }, rate(now)), h("td", { class: "number" }, count(o.packets)));
    })));
    this.describe();
  }

  choose(name) {
    this.chosen = name;
    this.picture.select(name);
    this.describe();
  }

  describe() {
    const t = this.tables?.find((table) => table.name === this.chosen);
    if (!t) {
      put(this.details, h("h2", null, "A table"), h("p", { class: "dim" }, "Choose a table in the picture to see what it does and by what it decides."));
      return;
    }
    renew(this.details, h("h2", null, t.name), h("p", null, t.job),
      h("p", { class: "dim" }, `${plural(t.flows, "flow")} · ${plural(t.packets, "packet")} so far · ${t.leads.length ? `leads to ${t.leads.join(", ")}` : t.drops ? "the end of the way" : "leads out of the bridge"}`),
      t.objects?.length ? h("table", null,
        h("thead", null, h("tr", null, ["Object", "Flows", "Now", "Packets"].map((x, i) => h("th", { scope: "col", class: i ? "number" : "" }, x)))),
        h("tbody", null, t.objects.map((o) => h("tr", null, h("th", { scope: "row" }, o.kind, " ", o.drops && badge("drops", "denied")),
          h("td", { class: "number" }, count(o.flows)), h("td", { class: "number" }, rate(this.rates.kind(t.name, o.kind))), h("td", { class: "number" }, count(o.packets)))))) : "");
  }
}
