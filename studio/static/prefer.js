// Keyboard shortcuts for the buttons of a pair.
const form = document.getElementById("prefer");
const keys = document.getElementById("keys");
keys.checked = localStorage.getItem("understudy-keys") !== "off";
keys.addEventListener("change", () => localStorage.setItem("understudy-keys", keys.checked ? "on" : "off"));
document.addEventListener("keydown", (event) => {
  if (event.target.matches("textarea, input:not([type=checkbox])")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  const better = { a: "A", b: "B", t: "tie" }[event.key.toLowerCase()];
  if (better) form.querySelector(`[value="${better}"]`).click();
  else if (event.key === "r") form.elements.reason.focus();
  else if (event.key === "u") form.querySelector("[rel=prev]")?.click();
  else return;
  event.preventDefault();
});
