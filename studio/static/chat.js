// Sends a message, and shows all players' answers as they arrive. The studio stores every answer, even one that was stopped.
const root = document.getElementById("chat");
const form = document.getElementById("say");
const status = document.getElementById("status");
const stop = document.getElementById("stop");
const players = JSON.parse(root.dataset.players);
const address = root.dataset.address;
let stopping = null;

const made = (tag, name, text = "") => Object.assign(document.createElement(tag), { className: name, textContent: text });

function turn(number, text) {
  const section = made("section", "turn");
  section.setAttribute("aria-label", `Message ${number}`);
  const columns = made("div", `columns n${players.length}`);
  players.forEach((player, place) => {
    const reply = made("div", "reply");
    const who = made("p", "who");
    who.append(made("span", `arm a${place % 5}`, player));
    const live = made("div", "said assistant live");
    live.setAttribute("aria-live", "off");
    reply.append(who, live, made("p", "state quiet", "…"));
    columns.append(reply);
  });
  section.append(made("p", "who", "You"), made("div", "said user as-written", text), columns);
  root.append(section);
  section.scrollIntoView({ block: "start" });
  return [...columns.children];
}

async function hear(number, player, reply, signal) {
  const said = reply.querySelector(".said");
  const state = reply.querySelector(".state");
  try {
    const answer = await fetch(`${address}/turns/${number}/${encodeURIComponent(player)}`, { method: "POST", signal });
    if (!answer.ok) throw new Error(answer.status);
    let held = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const lines = (held + part).split("\n");
      held = lines.pop();
      for (const line of lines) {
        const event = JSON.parse(line);
        if ("piece" in event) said.append(event.piece);
        else state.textContent = { length: "Cut off at the maximum length.", failed: event.why }[event.ended] ?? "";
      }
    }
  } catch (error) {
    state.textContent = error.name === "AbortError" ? "Stopped." : "The studio does not answer.";
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = form.elements.text.value.trim();
  if (!text || stopping) return;
  stopping = new AbortController();
  status.textContent = "Sent; a model that is not loaded yet takes a moment.";
  try {
    const kept = await fetch(`${address}/say`, { method: "POST", headers: { "content-type": "application/json", accept: "application/json" }, body: JSON.stringify({ text }) });
    if (!kept.ok) throw new Error(kept.status);
    const { number } = await kept.json();
    form.elements.text.value = "";
    stop.hidden = false;
    const replies = turn(number, text);
    await Promise.all(players.map((player, place) => hear(number, player, replies[place], stopping.signal)));
    status.textContent = "All have answered.";
    setTimeout(() => { if (!form.elements.text.value) location.reload(); }, 400); // shows the marks and the forms for judging and keeping the chat
  } catch {
    status.textContent = "The message was not sent: the studio does not answer, or the message is too long.";
  } finally {
    stopping = null;
    stop.hidden = true;
  }
});

stop.addEventListener("click", () => stopping?.abort());
form.elements.text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

for (const marks of root.querySelectorAll(".mark")) {
  const keep = async () => {
    const thumb = marks.querySelector("[aria-pressed=true]")?.value ?? "0";
    const sent = { method: "POST", headers: { "content-type": "application/json", accept: "application/json" }, body: JSON.stringify({ thumb, note: marks.elements.note.value }) };
    const answer = await fetch(marks.getAttribute("action"), sent).catch(() => null);
    marks.previousElementSibling.textContent = answer?.ok ? "Kept." : "Not kept: the studio does not answer.";
  };
  for (const button of marks.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const before = button.getAttribute("aria-pressed") === "true";
      for (const other of marks.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(!before));
      keep();
    });
  }
  marks.elements.note.addEventListener("change", keep);
  marks.addEventListener("submit", (event) => { event.preventDefault(); keep(); });
}
