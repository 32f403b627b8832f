// Says when the studio itself does not answer.
const lost = document.getElementById("lost");
document.addEventListener("htmx:sendError", () => (lost.hidden = false));
document.addEventListener("htmx:timeout", () => (lost.hidden = false));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.xhr?.status) lost.hidden = true;
});
