const habits = ["read", "walk", "read", "sing", "walk", "read"];
const counts = {};
for (const habit of habits) {
  counts[habit] += 1;
}
console.log(JSON.stringify(counts));
