// A run's training curves, drawn by uPlot; drawn anew with what came whenever the page's state changed.
const home = document.getElementById("curves");
const reading = document.getElementById("reading");
const plots = new Map(); // heading → {plot, figure, panel}
let known = null;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const minus = (text) => text.replace("-", "−");
// As few as tell 0.25 and 0.0005 apart from their neighbours.
const decimals = (step) => [0, 1, 2, 3, 4, 5, 6, 7].find((n) => Math.abs(step - Number(step.toFixed(n))) < 1e-9) ?? 8;

function axes() {
  const font = `12px ${colour("sans")}`;
  const common = { stroke: () => colour("muted"), font, ticks: { show: false } };
  const grid = { stroke: () => colour("grid"), width: 1 };
  return [
    {
      ...common,
      grid: { show: false },
      size: 26,
      space: 34,
      values: (_, at) => at.map((x) => (Number.isInteger(x) ? known.labels[x - 1] ?? "" : "")),
      incrs: [1, 2, 5, 10, 20, 50, 100, 200],
    },
    {
      ...common,
      grid,
      size: (plot, values) => 10 + 7.2 * Math.max(3, ...(values ?? []).map((text) => text.length)),
      values: (_, at, axis, space, step) => at.map((y) => minus(y.toFixed(decimals(step)))),
      space: 36,
    },
  ];
}

// uPlot draws lines and points; what lies across the plot is drawn here.
function across(plot, panel) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.lineWidth = ratio;
  ctx.font = `${12 * ratio}px ${colour("sans")}`;
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  for (const event of known.events) {
    const x = Math.round(plot.valToPos(event.at, "x", true)) + 0.5;
    ctx.strokeStyle = colour("muted");
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = colour("ink");
    ctx.textAlign = "center";
    ctx.fillText(event.letter, x, bbox.top - 4 * ratio);
  }
  for (const bar of panel.bars) {
    const y = Math.round(plot.valToPos(bar.y, "y", true)) + 0.5;
    ctx.strokeStyle = ctx.fillStyle = colour("best");
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.textAlign = "right";
    ctx.setLineDash([]);
    ctx.lineWidth = 4 * ratio;
    ctx.strokeStyle = colour("paper");
    ctx.strokeText(bar.label, bbox.left + bbox.width, y - 4 * ratio);
    ctx.fillText(bar.label, bbox.left + bbox.width, y - 4 * ratio);
  }
  ctx.restore();
}

// Of all values and of the lines to beat, with room for a label.
function range(panel) {
  return (plot, low, high) => {
    const all = [low, high, ...panel.bars.map((bar) => bar.y)].filter((y) => y !== null && y !== undefined);
    if (!all.length) return [0, 1];
    const [least, most] = [Math.min(...all), Math.max(...all)];
    const room = (most - least || Math.abs(most) * 0.1 || 1) * 0.12;
    return [least - room, most + room];
  };
}

// Under the heading: the lines' names in their colours, or what they are where the cursor stands.
function caption(note, panel, told) {
  note.replaceChildren();
  panel.series.forEach((one, i) => {
    const text = told.length ? told[i] : panel.keyed ? one.label : "";
    if (!text) return;
    const entry = document.createElement("i");
    if (panel.keyed) entry.className = `dot s-${one.style}`;
    entry.textContent = text;
    note.append(entry);
  });
  if (!told.length) note.append(panel.said);
}

function tell(index) {
  const lines = [];
  for (const { figure, panel } of plots.values()) {
    const told = index === null ? [] : panel.series.map((one) => one.said[index]);
    caption(figure.querySelector("span"), panel, told);
    lines.push(...told.filter(Boolean));
  }
  const event = index === null ? null : known.events.find((one) => one.at === known.x[index]);
  reading.textContent = [...lines, ...(event?.said ?? [])].join(". ");
}

function draw(panel) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const heading = document.createElement("b");
  const place = document.createElement("div");
  heading.textContent = panel.heading;
  place.className = "plot";
  caption.append(heading, document.createElement("span"));
  figure.append(caption, place);
  home.append(figure);
  const entry = { figure, panel, place };
  const options = {
    width: place.clientWidth,
    height: place.clientHeight,
    padding: [16, 6, 0, 0],
    legend: { show: false },
    scales: { x: { time: false, range: (_, low, high) => [low - 0.5, high + 0.5] }, y: { range: (...its) => range(entry.panel)(...its) } },
    axes: axes(),
    cursor: { sync: { key: "run" }, y: false, drag: { setScale: false }, points: { size: 8 } },
    series: [
      {},
      ...panel.series.map((one, i) => ({
        label: one.label,
        stroke: () => colour(one.style),
        width: i ? 1.6 : 2.2,
        points: { show: panel.series[0].y.length <= 24, size: 5, fill: () => colour(one.style) },
      })),
    ],
    hooks: { draw: [(plot) => across(plot, entry.panel)], setCursor: [(plot) => pointed(plot)] },
  };
  entry.plot = new uPlot(options, [known.x, ...panel.series.map((one) => one.y)], place);
  plots.set(panel.heading, entry);
}

let at = null;
function pointed(plot) {
  if (plot.cursor.idx === at) return;
  at = plot.cursor.idx ?? null;
  tell(at);
}

function step(by) {
  const first = plots.values().next().value?.plot;
  if (!first) return;
  const next = Math.max(0, Math.min(known.x.length - 1, (at ?? (by > 0 ? -1 : known.x.length)) + by));
  for (const { plot } of plots.values()) plot.setCursor({ left: plot.valToPos(known.x[next], "x"), top: 10 }, false);
  at = next;
  tell(at);
}

async function refresh() {
  const response = await fetch(home.dataset.source);
  if (!response.ok) return;
  known = await response.json();
  const same = (panel) => plots.get(panel.heading)?.panel.series.length === panel.series.length;
  if (plots.size !== known.panels.length || !known.panels.every(same)) {
    for (const { plot } of plots.values()) plot.destroy();
    plots.clear();
    home.replaceChildren();
    if (!known.panels.length) home.textContent = "No epoch is trained yet; the curves begin with the first.";
    known.panels.forEach(draw);
  } else {
    for (const panel of known.panels) {
      const entry = plots.get(panel.heading);
      entry.panel = panel;
      entry.plot.setData([known.x, ...panel.series.map((one) => one.y)]);
    }
  }
  home.dataset.epochs = known.labels.length;
  tell(at !== null && at < known.x.length ? at : null);
}

home.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  step(by);
});
home.addEventListener("blur", () => tell((at = null)));
new ResizeObserver(() => {
  for (const { plot, place } of plots.values()) plot.setSize({ width: place.clientWidth, height: place.clientHeight });
}).observe(home);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { plot } of plots.values()) plot.redraw();
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "now" || event.detail?.elt?.id === "now") refresh();
});
refresh();
