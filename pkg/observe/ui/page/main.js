// The frame: which view is shown, and how the node is.

import { h, put } from "./dom.js";
import * as store from "./store.js";
import { count, plural } from "./format.js";
import { PipelineView } from "./pipeline.js";
import { VerdictsView } from "./verdicts.js";
import { PodsView } from "./pods.js";
import { PoliciesView } from "./policies.js";

const views = { pipeline: PipelineView, verdicts: VerdictsView, pods: PodsView, policies: PoliciesView };
const main = document.getElementById("main");
const made = {};
let shown;

// route reads "#/view/name/of/something?key=value".
function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  let name = "";
  try {
    name = rest.map(decodeURIComponent).join("/");
  } catch { /* not one of this page's links */ }
  return { view: views[view] ? view : "pipeline", name, query: new URLSearchParams(query) };
}

function show() {
  if (location.hash === "#main") return;
  const to = route();
  const view = (made[to.view] ??= new views[to.view]());
  if (shown !== view) {
    shown?.hide?.();
    put(main, view.element);
    shown = view;
  }
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === to.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${to.view[0].toUpperCase()}${to.view.slice(1)} · Sluice`;
  view.show(to);
}

function showNode(status) {
  const place = document.getElementById("node");
  const failed = store.failure("status");
  if (failed) {
    place.className = "node bad";
    put(place, h("span", { class: "dot" }), failed);
    return;
  }
  place.className = `node ${status.ready ? "good" : "wait"}`;
  const network = status.network ? `${status.network.mode}${status.network.tunnel ? ` ${status.network.tunnel}` : ""}, MTU ${status.network.mtu}` : "";
  put(place, h("span", { class: "dot" }), h("strong", null, status.node), " ", status.ready ? "in force" : "not yet written",
    h("span", { class: "more" }, [status.bridge, network, plural(status.bundles, "bundle"), status.connectionsCut ? `${count(status.connectionsCut)} cut` : ""].filter(Boolean).join(" · ")));
}

// The keys: / for the filter, t for a trace, Escape for closing what is open.
function press(event) {
  if (event.key === "Escape") {
    shown?.close?.();
    return;
  }
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "/") {
    const filter = main.querySelector("[data-filter]");
    if (!filter) return;
    filter.focus();
    event.preventDefault();
  } else if (event.key === "t") {
    if (route().view !== "pipeline") location.hash = "#/pipeline";
    setTimeout(() => main.querySelector("[name=from]")?.focus());
    event.preventDefault();
  }
}

store.on("status", showNode);
for (const [what, name] of [["pods", "ports"], ["policies", "policies"]]) {
  store.on(name, (list) => put(document.querySelector(`[data-count=${what}]`), count(list?.length ?? 0)));
}
addEventListener("hashchange", show);
addEventListener("keydown", press);
store.follow();
show();
