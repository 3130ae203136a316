const players = ["Ada", "Ben", "Cem", "Dora"];
for (let i = 0; i <= players.length; i++) {
  console.log(i + 1 + ". " + players[i].toUpperCase());
}
