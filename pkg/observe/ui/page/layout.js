// Where the tables stand and how the ways between them run. Stages are columns,
// or, where there is no room for them, one below the other.

export const box = { height: 58, gap: 20, top: 34 };
const gutter = 46; // between columns
const lane = 9; // between ways that pass below the columns
const narrowest = 112; // of a column

export const stageNames = {
  arrival: "Arrival", service: "Services", egress: "Egress of the source", route: "Route",
  ingress: "Ingress of the destination", departure: "Departure",
};

function stagesOf(tables) {
  const stages = [];
  for (const t of tables) {
    const stage = t.stage || "arrival";
    const last = stages.find((g) => g.name === stage);
    if (last) last.tables.push(t.name);
    else stages.push({ name: stage, tables: [t.name] });
  }
  return stages;
}

// layout places tables in a picture of a width, in pixels.
export function layout(tables, width) {
  const stages = stagesOf(tables);
  const columnWidth = Math.floor((width - 2 - gutter * (stages.length - 1)) / stages.length);
  return columnWidth >= narrowest ? columns(stages, Math.min(columnWidth, 210), width) : oneColumn(stages, width);
}

function columns(stages, columnWidth, width) {
  const free = Math.max(0, width - 2 - stages.length * columnWidth - (stages.length - 1) * gutter);
  const between = gutter + free / Math.max(1, stages.length - 1);
  const places = new Map();
  const titles = [];
  let rows = 0;
  stages.forEach((stage, column) => {
    const x = 1 + column * (columnWidth + between);
    titles.push({ text: stageNames[stage.name] ?? stage.name, x, y: 20, width: columnWidth });
    stage.tables.forEach((name, row) => {
      places.set(name, { x, y: box.top + row * (box.height + box.gap), width: columnWidth, column, row });
    });
    rows = Math.max(rows, stage.tables.length);
  });
  const bottom = box.top + rows * (box.height + box.gap) - box.gap;
  return { places, titles, width, bottom, height: bottom + 36, wide: true, between };
}

function oneColumn(stages, width) {
  const places = new Map();
  const titles = [];
  const rail = 56;
  let y = 0;
  let row = 0;
  for (const stage of stages) {
    titles.push({ text: stageNames[stage.name] ?? stage.name, x: 1, y: y + 18, width });
    y += 28;
    for (const name of stage.tables) {
      places.set(name, { x: 1, y, width: width - rail - 2, column: 0, row: row++ });
      y += box.height + 12;
    }
  }
  return { places, titles, width, bottom: y, height: y, wide: false, between: rail };
}

// way returns the points of the way from one table to another.
export function way(plan, fromName, toName) {
  const a = plan.places.get(fromName);
  const b = plan.places.get(toName);
  if (!a || !b) return [];
  const middle = (p) => p.y + box.height / 2;
  if (a.column === b.column) {
    const down = a.x + a.width * (plan.wide ? 0.5 : 0.7); // off the names of stages
    if (b.row === a.row + 1) return [[down, a.y + box.height], [down, b.y]];
    if (plan.wide) {
      const x = a.x - 7 - 4 * (a.row % 3);
      return [[a.x, middle(a) + 6], [x, middle(a) + 6], [x, middle(b) - 6], [b.x, middle(b) - 6]];
    }
    const right = a.x + a.width;
    const x = right + 8 + ((Math.abs(b.row - a.row) * 5) % (plan.between - 14));
    return [[right, middle(a) + 8], [x, middle(a) + 8], [x, middle(b) - 8], [right, middle(b) - 8]];
  }
  const out = a.x + a.width + 8 + 5 * (a.row % 4);
  const y = middle(b) - 8 + 4 * (a.row % 4);
  if (b.column === a.column + 1) return [[a.x + a.width, middle(a)], [out, middle(a)], [out, y], [b.x, y]];
  const below = plan.bottom + 12 + lane * ((a.column + a.row) % 3);
  const before = b.x - 10 - 4 * (a.column % 3);
  return [[a.x + a.width, middle(a) + 8], [out, middle(a) + 8], [out, below], [before, below], [before, y], [b.x, y]];
}

// path is a way as SVG has it, with its corners rounded.
export function path(points) {
  if (points.length < 2) return "";
  const radius = 6;
  let d = `M${points[0][0]} ${points[0][1]}`;
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = points[i];
    const toward = ([px, py]) => {
      const length = Math.hypot(px - x, py - y) || 1;
      const r = Math.min(radius, length / 2);
      return [x + ((px - x) / length) * r, y + ((py - y) / length) * r];
    };
    const [bx, by] = toward(points[i - 1]);
    const [ax, ay] = toward(points[i + 1]);
    d += `L${bx} ${by}Q${x} ${y} ${ax} ${ay}`;
  }
  const last = points[points.length - 1];
  return `${d}L${last[0]} ${last[1]}`;
}
