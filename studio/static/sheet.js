// Sends a filled-in sheet as it is, and says what came of it.
const form = document.getElementById("import");
const said = document.getElementById("said");
form.hidden = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const person = encodeURIComponent(form.elements.person.value);
  try {
    const answer = await fetch(`${form.dataset.address}?person=${person}`, { method: "POST", headers: { accept: "application/json" }, body: form.elements.file.files[0] });
    if (answer.ok) {
      said.textContent = (await answer.json()).said;
    } else {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      said.textContent = page.querySelector("main p")?.textContent ?? "The sheet was not taken.";
    }
  } catch {
    said.textContent = "The studio does not answer, and nothing was taken. Start it again and send the sheet once more.";
  }
});
