// The map's pictures. Strips are SVG, a column a chunk; matrices are canvases, a cell a pair of chunks.
import { hide, show } from "./points.js";

const LEFT = 34;
const SVG = "http://www.w3.org/2000/svg";
const short = (text) => (text.length > 90 ? `${text.slice(0, 88).trimEnd()}…` : text);
const hundredth = (value) => (value / 100).toFixed(2).replace("-", "−");

function tag(name, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

// An empty picture as wide as its home; x of a column's left edge, and a column's width.
function sheet(home, count, height) {
  const width = home.clientWidth;
  const column = (width - LEFT) / count;
  const svg = tag("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "chart", "aria-hidden": "true" });
  return { svg, width, column, x: (i) => LEFT + i * column };
}

function put(home, svg, pressed) {
  hide();
  svg.addEventListener("pointerover", (event) => {
    const spot = event.target.closest("[data-said]");
    if (spot) show(spot);
    else hide();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("click", (event) => {
    const spot = event.target.closest("[data-chunk]");
    if (spot) pressed(Number(spot.dataset.chunk));
  });
  home.replaceChildren(svg);
}

function grid({ svg, width }, values, y) {
  for (const value of values) {
    svg.append(tag("line", { x1: LEFT, x2: width, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(tag("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value === 0 ? "0" : String(value)));
  }
}

function numbers({ svg, column, x }, count, names, y) {
  const every = [1, 2, 5, 10, 20, 50].find((step) => step * column >= 26) ?? 50;
  for (let i = 0; i < count; i += 1) {
    const number = names.number(i);
    if (number % every === 0 || (every === 1 && i === 0)) svg.append(tag("text", { x: x(i) + column / 2, y, "text-anchor": "middle" }, String(number)));
  }
}

// Cosines of one prediction to every chunk.
export function strip(home, data, step, names, pressed) {
  if (home.clientWidth <= LEFT) return; // not shown yet
  const count = data.chunks.length;
  const [top, bottom, height] = [30, 168, 190];
  const paper = sheet(home, count, height);
  const { svg, column, x } = paper;
  const y = (value) => bottom - (bottom - top) * Math.max(0, Math.min(1, value));
  const first = step.at - data.model.context + 1;
  svg.append(tag("rect", { x: x(first), y: top - 8, width: column * data.model.context, height: bottom - top + 8, class: "shade" }));
  grid(paper, [0, 0.25, 0.5, 0.75], y);
  const gap = Math.min(1.5, column / 5);
  step.cosines.forEach((value, i) => {
    const kind = i === step.target ? "s-best" : i > step.at ? "s-other ahead" : i >= first ? "s-model" : "s-other behind";
    const what = i === step.target ? ", came next" : i > step.at ? ", still to come" : i >= first ? ", read" : "";
    const spot = tag("g", { class: `column ${kind}`, "data-chunk": i, "data-said": `Chunk ${names.number(i)}${what}: ${hundredth(value)}; to the last chunk read ${hundredth(data.likeness[step.at][i])}. ${short(names.text(i))}` });
    spot.append(tag("rect", { x: x(i), y: top - 8, width: column, height: bottom - top + 8, class: "hit" }));
    spot.append(tag("rect", { x: x(i) + gap, y: y(value / 100), width: Math.max(1, column - 2 * gap), height: Math.max(1, bottom - y(value / 100)), class: "bar" }));
    if (i !== step.at) {
      const level = y(data.likeness[step.at][i] / 100);
      spot.append(tag("line", { x1: x(i) + gap, x2: x(i) + column - gap, y1: level, y2: level, class: "level s-copy" }));
    }
    svg.append(spot);
  });
  const middle = (from, to) => (x(from) + x(to + 1)) / 2;
  svg.append(tag("text", { x: x(step.at + 1) - 4, y: 14, "text-anchor": "end", class: "s-model ink" }, "read"));
  const [best] = step.best[0];
  svg.append(tag("path", { d: `M${middle(best, best)} ${y(step.cosines[best] / 100) - 13}l5 6l-5 6l-5 -6z`, class: "found" }));
  const beside = x(step.target) + 70 > paper.width; // no room to its right: above its own column, over what was read
  svg.append(tag("text", { x: beside ? paper.width : x(step.target) + 1, y: beside ? 27 : 14, "text-anchor": beside ? "end" : "start", class: "s-best ink" }, "came next"));
  svg.append(tag("line", { x1: middle(step.target, step.target), x2: middle(step.target, step.target), y1: 18, y2: y(step.cosine) - 2, class: "stem" }));
  numbers(paper, count, names, height - 6);
  put(home, svg, pressed);
}

// 1/rank of every chunk that was predicted, and the last chunk's.
export function trace(home, data, at, names, pressed) {
  if (home.clientWidth <= LEFT) return;
  const count = data.chunks.length;
  const [top, bottom, height] = [8, 72, 92];
  const paper = sheet(home, count, height);
  const { svg, column, x } = paper;
  const y = (value) => bottom - (bottom - top) * value;
  grid(paper, [0, 0.5, 1], y);
  const gap = Math.min(1.5, column / 5);
  data.steps.forEach((one, i) => {
    const rank = (value) => (Number.isInteger(value) ? value : value.toFixed(1));
    const spot = tag("g", { class: `column s-model${i === at ? " here" : ""}`, "data-chunk": one.target, "data-said": `Chunk ${names.number(one.target)}: rank ${rank(one.rank)} of ${one.of}, repeating the last chunk ${rank(one.last_rank)}` });
    spot.append(tag("rect", { x: x(one.target), y: 0, width: column, height: bottom, class: "hit" }));
    spot.append(tag("rect", { x: x(one.target) + gap, y: y(1 / one.rank), width: Math.max(1, column - 2 * gap), height: bottom - y(1 / one.rank), class: "bar" }));
    const level = y(1 / one.last_rank);
    spot.append(tag("line", { x1: x(one.target) + gap, x2: x(one.target + 1) - gap, y1: level, y2: level, class: "level s-copy" }));
    svg.append(spot);
  });
  numbers(paper, count, names, height - 4);
  put(home, svg, pressed);
}

const channel = (name) => {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
};

// Paper, the model's blue, ink: from 0 to 1. Chunks of one document have cosines of .2 to .7, so most of the shades
// lie there.
function colours() {
  const stops = [[0, channel("paper")], [0.55, channel("model")], [1, channel("ink")]];
  return Array.from({ length: 101 }, (_, i) => {
    const value = Math.max(0, (i - 8) / 92) ** 1.7;
    const k = value <= stops[1][0] ? 0 : 1;
    const share = (value - stops[k][0]) / (stops[k + 1][0] - stops[k][0]);
    return `rgb(${stops[k][1].map((low, j) => Math.round(low + share * (stops[k + 1][1][j] - low))).join(" ")})`;
  });
}

export function matrix(canvas, rows, step, names, pressed) {
  const count = rows.length;
  const size = canvas.clientWidth;
  if (!size) return;
  const ratio = devicePixelRatio || 1;
  canvas.width = canvas.height = Math.max(1, Math.round(size * ratio));
  const cell = canvas.width / count;
  const edge = (i) => Math.round(i * cell);
  const paint = canvas.getContext("2d");
  const palette = colours();
  rows.forEach((row, i) =>
    row?.forEach((value, j) => {
      paint.fillStyle = palette[Math.max(0, Math.min(100, value))];
      paint.fillRect(edge(j), edge(i), edge(j + 1) - edge(j), edge(i + 1) - edge(i));
    }),
  );
  if (step) {
    const frame = Math.max(2, Math.round(1.5 * ratio));
    paint.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--best");
    paint.lineWidth = frame;
    paint.strokeRect(frame / 2, edge(step.target) - frame / 2, canvas.width - frame, edge(step.target + 1) - edge(step.target) + frame);
  }
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const at = (part) => Math.max(0, Math.min(count - 1, Math.floor(part * count)));
    return [at((event.clientY - box.top) / box.height), at((event.clientX - box.left) / box.width)];
  };
  canvas.onclick = (event) => pressed(where(event)[0]);
  canvas.onpointermove = (event) => {
    const [i, j] = where(event);
    if (!rows[i]) return (canvas.title = `Chunk ${names.number(i)} was not predicted`);
    canvas.title = `${names.number(i)}, ${names.number(j)}: ${hundredth(rows[i][j])}`;
  };
}

export function scale(canvas) {
  const paint = canvas.getContext("2d");
  colours().forEach((colour, i) => {
    paint.fillStyle = colour;
    paint.fillRect((i * canvas.width) / 101, 0, canvas.width / 101 + 1, canvas.height);
  });
}
