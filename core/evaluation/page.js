const pairs = [...document.querySelectorAll(".pair")];
const form = document.getElementById("filters");
const count = document.getElementById("count");

function shown() {
  return pairs.filter((pair) => !pair.hidden);
}

function filter() {
  const text = form.elements.text.value.trim().toLowerCase();
  const which = form.elements.which.value;
  for (const pair of pairs) {
    const fits = !which || pair.dataset.tags.split(" ").includes(which);
    pair.hidden = !(fits && (!text || pair.textContent.toLowerCase().includes(text)));
  }
  count.textContent = `${shown().length} of ${pairs.length}`;
}

function openTarget() {
  const target = location.hash.startsWith("#p") && document.getElementById(location.hash.slice(1));
  if (target && target.classList.contains("pair")) {
    if (target.hidden) form.reset();
    filter();
    target.open = true;
    target.scrollIntoView();
  }
}

function step(by) {
  const list = shown();
  const focused = list.findIndex((pair) => pair.contains(document.activeElement));
  // after a link, the browser takes the focus away
  const at = focused < 0 ? list.indexOf(document.querySelector(".pair:target")) : focused;
  const next = list[at < 0 ? 0 : Math.min(list.length - 1, Math.max(0, at + by))];
  if (next) {
    next.open = true;
    next.querySelector("summary").focus();
    next.scrollIntoView();
  }
}

if (pairs.length) {
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("open").addEventListener("click", () => shown().forEach((pair) => (pair.open = true)));
  window.addEventListener("hashchange", openTarget);
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  });
  filter();
  openTarget();
}
// what is folded is to be on paper too
window.addEventListener("beforeprint", () => document.querySelectorAll(".figures details").forEach((part) => (part.open = true)));
