// Uploads a filled-in sheet, and shows the studio's answer.
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
      said.textContent = page.querySelector("main p")?.textContent ?? "The sheet was not imported.";
    }
  } catch {
    said.textContent = "The studio does not answer, and nothing was imported. Start it again and import the sheet once more.";
  }
});
