// Every point of a chart says its name and figures: on hover, and by the arrow keys once the chart has the focus.
const said = document.createElement("p");
said.id = "said";
said.setAttribute("role", "status");
said.hidden = true;
document.body.append(said);
let shown = null;

export function hide() {
  shown?.classList.remove("on");
  shown = null;
  said.hidden = true;
}

export function show(point) {
  if (point === shown) return;
  hide();
  shown = point;
  point.classList.add("on");
  point.dispatchEvent(new CustomEvent("point", { bubbles: true }));
  said.textContent = point.dataset.said;
  said.hidden = false;
  const box = point.getBoundingClientRect();
  const left = box.left + box.width / 2 - said.offsetWidth / 2;
  const above = box.top - said.offsetHeight - 8;
  said.style.left = `${scrollX + Math.max(8, Math.min(left, document.documentElement.clientWidth - said.offsetWidth - 8))}px`;
  said.style.top = `${scrollY + (above > 4 ? above : box.bottom + 8)}px`;
}

function prepare(chart) {
  const points = [...chart.querySelectorAll("title")].map((title) => {
    const point = title.parentElement;
    point.dataset.said = title.textContent;
    title.remove(); // else the browser shows its own beside ours
    return point;
  });
  if (!points.length) return;
  const centre = (point) => {
    const box = point.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  let at = -1;
  chart.tabIndex = 0;
  chart.addEventListener("pointerover", (event) => {
    const point = event.target.closest("[data-said]");
    if (point) show(point);
    else hide();
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const edge = { Home: 0, End: points.length - 1 }[event.key];
    if (step === undefined && edge === undefined) return;
    event.preventDefault();
    points.sort((a, b) => centre(a)[0] - centre(b)[0] || centre(a)[1] - centre(b)[1]);
    const from = shown ? points.indexOf(shown) : at;
    at = edge ?? (from < 0 ? (step > 0 ? 0 : points.length - 1) : (from + step + points.length) % points.length);
    show(points[at]);
  });
}

for (const chart of document.querySelectorAll("svg.chart")) prepare(chart);
document.addEventListener("htmx:afterSettle", (event) => {
  for (const chart of event.target.querySelectorAll?.("svg.chart:not([tabindex])") ?? []) prepare(chart);
});
