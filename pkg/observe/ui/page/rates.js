// What passes in a second, from counters that only grow.

const places = 60; // readings that are kept

export class Rates {
  constructor() {
    this.rows = new Map(); // name -> {now, history}
    this.at = 0;
  }

  // add takes a reading of the pipeline; false if it is the one of before.
  add(pipeline) {
    const at = Date.parse(pipeline.time);
    if (at === this.at) return false;
    const seconds = this.at ? (at - this.at) / 1000 : 0;
    this.at = at;
    for (const t of pipeline.tables) {
      this.note(t.name, t.packets, seconds);
      for (const o of t.objects ?? []) this.note(`${t.name}/${o.kind}`, o.packets, seconds);
    }
    this.dropping = new Map(pipeline.tables.map((t) => [t.name, (t.objects ?? []).filter((o) => o.drops).map((o) => `${t.name}/${o.kind}`)]));
    return true;
  }

  note(name, packets, seconds) {
    const row = this.rows.get(name);
    if (!row) {
      this.rows.set(name, { packets, history: [] });
      return;
    }
    if (seconds > 0) {
      // A counter that shrank has lost flows, or the bridge was made anew.
      row.rate = Math.max(0, packets - row.packets) / seconds;
      row.history.push(row.rate);
      if (row.history.length > places) row.history.shift();
    }
    row.packets = packets;
  }

  table(name) { return this.rows.get(name)?.rate; }

  kind(table, kind) { return this.rows.get(`${table}/${kind}`)?.rate; }

  history(name) { return this.rows.get(name)?.history ?? []; }

  drops(table) { return (this.dropping?.get(table) ?? []).reduce((sum, name) => sum + (this.rows.get(name)?.rate ?? 0), 0); }
}
