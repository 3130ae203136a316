const rate = 0.19;
function gross(net) {
  return net * (1 + rate);
}
<<<<<<< HEAD
console.log(gross(100).toFixed(2));
=======
console.log("total", gross(100));
>>>>>>> origin/main
