// A trace: its form, and the way of the packet in words.

import { h, put } from "./dom.js";
import * as store from "./store.js";
import { trace } from "./api.js";
import { allows, denies } from "./objects.js";
import { badge, connection, facts, policyLink, verdictsHref, traceHref } from "./links.js";

// endpoint says who was chosen to serve a Service, of how many.
function endpoint(b) {
  if (!b.endpoint) return "none";
  const pod = b.pod ? ` of pod ${b.pod}` : "";
  return `${b.endpoint}${pod}${b.choices > 1 ? `, one of ${b.choices}` : ""}`;
}

const fields = ["from", "to", "protocol", "port", "family"];

export class TraceForm {
  // done(explanation) is called with an answer, and with null when there is none.
  constructor(done) {
    this.done = done;
    const field = (name, text, control) => h("label", { class: `field ${name}` }, h("span", null, text), control);
    const option = (value, text) => h("option", { value }, text);
    this.pods = h("datalist", { id: "pods" });
    this.form = h("form", { class: "toolbar trace", "aria-label": "Trace", autocomplete: "off", onsubmit: (e) => this.submit(e) },
      field("from", "From", h("input", { name: "from", list: "pods", required: true, placeholder: "namespace/pod or address", spellcheck: "false" })),
      field("to", "To", h("input", { name: "to", list: "pods", required: true, placeholder: "namespace/pod or address", spellcheck: "false" })),
      field("protocol", "Protocol", h("select", { name: "protocol", onchange: () => this.ports() }, ["tcp", "udp", "sctp", "icmp"].map((p) => option(p, p)))),
      field("port", "Port", h("input", { name: "port", type: "number", min: 1, max: 65535, placeholder: "80" })),
      field("family", "Family", h("select", { name: "family" }, option("", "any"), option("4", "IPv4"), option("6", "IPv6"))),
      h("button", { class: "main", type: "submit" }, "Trace"),
      h("button", { type: "button", hidden: true, onclick: () => { location.hash = "#/pipeline"; } }, "Clear"), this.pods);
    this.result = h("section", { class: "result panel", hidden: true, "aria-live": "polite", "aria-label": "The way of the packet" });
    store.on("ports", (ports) => put(this.pods, (ports ?? []).map((p) => h("option", { value: p.pod }))));
  }

  ports() {
    const { protocol, port } = this.form.elements;
    port.disabled = protocol.value === "icmp";
    if (port.disabled) port.value = "";
  }

  // submit makes the question the page's address, so that it can be kept and sent.
  submit(event) {
    event.preventDefault();
    const values = Object.fromEntries(fields.map((f) => [f, this.form.elements[f].value.trim()]));
    const to = traceHref(values);
    if (location.hash === to) this.ask(values);
    else location.hash = to;
  }

  show(query) {
    const values = Object.fromEntries(fields.map((f) => [f, query.get(f) ?? ""]));
    if (!values.from && !values.to) {
      this.clear();
      return;
    }
    for (const f of fields) if (values[f] || f !== "protocol") this.form.elements[f].value = values[f];
    this.ports();
    if (values.from && values.to && (values.port || values.protocol === "icmp")) this.ask(values);
    else {
      this.clear();
      this.form.elements[fields.find((f) => !values[f])].focus();
    }
  }

  clear() {
    this.asked?.abort();
    this.result.hidden = true;
    this.form.lastElementChild.previousElementSibling.hidden = true;
    this.done(null);
  }

  async ask(values) {
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    this.form.lastElementChild.previousElementSibling.hidden = false;
    this.result.setAttribute("aria-busy", "true");
    let answer;
    try {
      answer = await trace({
        from: values.from, to: values.to, protocol: values.protocol || "tcp", port: Number(values.port) || 0, family: Number(values.family) || 0,
      }, asked.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.done(null);
      put(this.result, h("p", { class: "problem", role: "alert" }, error.message));
    }
    if (asked.signal.aborted) return;
    this.result.hidden = false;
    this.result.removeAttribute("aria-busy");
    if (!answer) return;
    put(this.result, explanation(answer));
    this.done(answer);
  }
}

function explanation(x) {
  return [
    h("div", { class: `outcome ${x.verdict === "allowed" ? "allowed" : "denied"}` },
      h("p", { class: "said" }, badge(x.verdict), h("strong", null, connection(x))),
      h("p", { class: "why" }, x.reason)),
    facts([x.service && ["endpoint", h("span", { class: "mono" }, endpoint(x.service))], x.egress && side(x.egress, x.from), x.ingress && side(x.ingress, x.to), x.output && ["leaves by", h("span", { class: "mono" }, x.output)],
      x.next && ["goes on", `to node ${x.next.node}, which is not asked here: sluice trace asks both`],
      !x.next && x.from.node && x.from.node !== x.node && ["comes", `from node ${x.from.node}, which is not asked here: sluice trace asks both`]].filter(Boolean)),
    h("ol", { class: "steps" }, x.steps.map((step) => h("li", { class: kindOf(step, x) },
      h("strong", null, step.table), h("span", { class: "meaning" }, step.meaning),
      h("details", null, h("summary", null, step.object || "no flow"),
        h("code", null, `priority=${step.priority}${step.match ? `,${step.match}` : ""} actions=${(step.actions ?? []).join(",") || "drop"}`))))),
    x.megaflow && h("details", { class: "megaflow" }, h("summary", null, "What the datapath keeps of it"), h("code", null, x.megaflow)),
    (x.from.pod || x.to.pod) && h("p", null, h("a", { href: verdictsHref({ pod: x.to.pod || x.from.pod }) }, `Verdicts about ${x.to.pod || x.from.pod}`)),
  ];
}

function kindOf(step, x) {
  if (denies(step) || (step === x.steps.at(-1) && x.verdict !== "allowed")) return "denied";
  return allows(step) ? "allowed" : "";
}

function side(verdict, at) {
  const by = verdict.isolatedBy ?? [];
  const links = by.flatMap((name, i) => [i ? ", " : "", policyLink(name)]);
  const text = verdict.pending ? "its policies are not known yet" : verdict.isolated ? ["isolated by ", links] : "not isolated by any policy";
  const rule = verdict.allowedBy;
  return [`${verdict.direction} of ${at.pod || at.addr}`,
    [text, rule && h("div", null, `allowed by rule ${rule.index} of `, policyLink(rule.policy), `: ${rule.text}`)]];
}
