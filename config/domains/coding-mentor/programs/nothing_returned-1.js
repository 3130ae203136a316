const prices = [12.5, 8, 21];
const withTip = prices.map((price) => {
  price * 1.1;
});
const total = withTip.reduce((sum, price) => sum + price, 0);
console.log("to pay: " + total);
