"use strict";
// Sort a table by the column whose heading was pressed: numbers fall first, words rise; "–" always comes last. Listens
// on the document, so that a table put into the page later sorts too.
document.addEventListener("click", (event) => {
  const heading = event.target.closest("table.sortable thead button")?.closest("th");
  if (!heading) return;
  const table = heading.closest("table");
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const body = table.tBodies[0];
  const column = headings.indexOf(heading);
  const key = (row) => {
    const cell = row.cells[column];
    if (column === 0) return cell.firstChild.textContent.trim();
    if (cell.classList.contains("words")) return cell.textContent.trim() === "–" ? null : cell.textContent.trim();
    return cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
  };
  const words = column === 0 || body.rows[0]?.cells[column].classList.contains("words");
  const first = words ? "ascending" : "descending";
  const second = words ? "descending" : "ascending";
  const order = heading.getAttribute("aria-sort") === first ? second : first;
  headings.forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
  body.append(...rows);
});
// On paper what a reader needs is open; of the rest, what was opened.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details.paper:not([open])")];
  opened.forEach((one) => (one.open = true));
});
addEventListener("afterprint", () => opened.forEach((one) => (one.open = false)));
