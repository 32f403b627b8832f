// A form that shows what was chosen as soon as it is chosen; and rows that a word filters.
const form = document.querySelector("form.choose");
const ours = (event) => event.target.closest(".several") === null;
form?.addEventListener("change", (event) => event.target.name && ours(event) && form.requestSubmit());
form?.addEventListener("click", (event) => {
  const { all, none } = event.target.dataset;
  if (!all && !none) return;
  for (const box of form.querySelectorAll(`input[name="${all ?? none}"]`)) box.checked = Boolean(all);
});

const filter = document.getElementById("filter");
filter?.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("table.sortable tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
});
filter?.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
