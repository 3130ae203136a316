let total = 0;
[3, 4, 5].forEach((amount) => {
  setTimeout(() => {
    total += amount;
  }, 5);
});
console.log("total: " + total);
