// What is pointed at, or has the focus, stands out wherever it is shown: its place, its curve, its line in the list.
const home = document.querySelector(".frontier");
const all = [...(home?.querySelectorAll("[data-name]") ?? [])];

function light(name) {
  home.classList.toggle("lit", name !== null);
  for (const one of all) one.classList.toggle("here", one.dataset.name === name);
}

const named = (event) => event.target.closest?.("[data-name]")?.dataset.name ?? null;
home?.addEventListener("pointerover", (event) => light(named(event)));
home?.addEventListener("pointerleave", () => light(null));
home?.addEventListener("focusin", (event) => light(named(event)));
home?.addEventListener("focusout", () => light(null));
document.addEventListener("point", (event) => home?.contains(event.target) && light(named(event)));
