// The view of pods: their ports, whether and by what they are isolated.

import { h, put, renew, debounce } from "./dom.js";
import * as store from "./store.js";
import { count, plural } from "./format.js";
import { List } from "./list.js";
import { badge, facts, listed, podHref, policyLink, traceHref, verdictsHref } from "./links.js";

export class PodsView {
  constructor() {
    this.list = new List({
      label: "Pods", name: "pods", key: (p) => p.name, open: (p) => { location.hash = podHref(p.pod); },
      columns: [
        { title: "Pod", cell: (p) => p.pod, class: "strong" },
        { title: "State", cell: (p) => badge(p.state) },
        { title: "Addresses", cell: (p) => (p.addrs ?? []).join(", "), class: "mono" },
        { title: "Isolated by", cell: (p) => by(p).join(", ") || "–", class: "optional" },
        { title: "Port", cell: (p) => `${p.name} (${p.ofport})`, class: "mono optional" },
      ],
    });
    this.filter = h("input", { type: "search", name: "q", placeholder: "Name, address, policy, port", "data-filter": true, oninput: debounce(() => this.apply(), 60) });
    this.state = h("select", { name: "state", onchange: () => this.apply() }, ["", "open", "isolated", "pending"].map((v) => h("option", { value: v }, v || "any state")));
    this.tally = h("p", { class: "tally", role: "status" });
    this.aside = h("aside", { class: "panel detail", "aria-label": "The chosen pod", hidden: true });
    this.element = h("div", { class: "view split" },
      h("form", { class: "toolbar", onsubmit: (e) => e.preventDefault() },
        h("label", { class: "field grow" }, h("span", null, "Filter"), this.filter), h("label", { class: "field" }, h("span", null, "State"), this.state), this.tally),
      h("div", { class: "columns" }, this.list.element, this.aside));
    store.on("ports", () => this.apply());
    store.on("policies", () => this.describe());
  }

  show({ name, query }) {
    this.name = name;
    if (query.has("q")) this.filter.value = query.get("q");
    this.apply();
  }

  close() { if (this.name) location.hash = "#/pods"; }

  apply() {
    const all = store.value("ports") ?? [];
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all.filter((p) => (!this.state.value || p.state === this.state.value) && words.every((w) => text(p).includes(w)));
    this.list.set(rows, store.failure("ports") ?? (all.length ? "No pod is like that." : "No pod is attached to this node."));
    put(this.tally, rows.length === all.length ? plural(all.length, "pod") : `${rows.length} of ${plural(all.length, "pod")}`);
    this.describe();
  }

  describe() {
    const pod = this.name && (store.value("ports") ?? []).find((p) => p.pod === this.name);
    this.list.mark(pod ? pod.name : undefined);
    this.aside.hidden = !this.name;
    if (!this.name) return;
    const close = h("a", { class: "close", href: "#/pods", "aria-label": "Close" }, "×");
    if (!pod) {
      put(this.aside, close, h("h2", null, this.name), h("p", { class: "dim" }, "This pod has no port on this node."),
        h("p", null, h("a", { href: verdictsHref({ pod: this.name }) }, "Verdicts about it")));
      return;
    }
    if (this.revealed !== this.name) this.list.reveal();
    this.revealed = this.name;
    const named = (store.value("policies") ?? []).filter((q) => (q.pods ?? []).includes(pod.pod)).map((q) => q.name);
    renew(this.aside, close, h("h2", null, pod.pod), badge(pod.state),
      facts([
        ["addresses", h("span", { class: "mono" }, (pod.addrs ?? []).join(", "))], ["MAC", h("span", { class: "mono" }, pod.mac)],
        ["port", h("span", { class: "mono" }, `${pod.name}, OpenFlow ${pod.ofport}`)], ["uid", pod.uid && h("span", { class: "mono" }, pod.uid)],
        ["egress isolated by", pod.egressIsolatedBy?.length ? listed(pod.egressIsolatedBy, policyLink) : "nothing"],
        ["ingress isolated by", pod.ingressIsolatedBy?.length ? listed(pod.ingressIsolatedBy, policyLink) : "nothing"],
        ["denied here", pod.stats && [`${plural(pod.stats.denied.egress, "attempt")} at egress, ${count(pod.stats.denied.ingress)} at ingress`,
          pod.stats.pending.egress + pod.stats.pending.ingress ? h("div", { class: "dim" }, `and ${count(pod.stats.pending.egress + pod.stats.pending.ingress)} before its policies were known`) : ""]],
        ["selected by", named.length ? listed(named, policyLink) : "no policy"],
      ]),
      h("p", { class: "links" }, h("a", { href: verdictsHref({ pod: pod.pod }) }, "Verdicts"), h("a", { href: traceHref({ from: pod.pod }) }, "Trace from here"), h("a", { href: traceHref({ to: pod.pod }) }, "Trace to here")));
  }
}

const by = (p) => [...new Set([...(p.egressIsolatedBy ?? []), ...(p.ingressIsolatedBy ?? [])])];

const texts = new WeakMap(); // what a pod is found by

function text(p) {
  if (!texts.has(p)) texts.set(p, [p.pod, p.name, p.mac, p.uid, ...(p.addrs ?? []), ...by(p)].join(" ").toLowerCase());
  return texts.get(p);
}
