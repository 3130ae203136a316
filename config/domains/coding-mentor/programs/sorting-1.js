const scores = [9, 120, 35, 8];
scores.sort();
console.log("best: " + scores[scores.length - 1]);
