const wait = (value) => new Promise((resolve) => setTimeout(() => resolve(value), 5));
async function load() {
  const rows = await wait(["kale", "leek"]);
  return rows;
}
const rows = load();
console.log("rows: " + rows.length);
