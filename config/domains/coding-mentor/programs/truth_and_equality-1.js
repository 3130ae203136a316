const stock = { kale: 12, leek: 0 };
for (const name of ["kale", "leek"]) {
  const left = stock[name] || "unknown";
  console.log(name + ": " + left);
}
