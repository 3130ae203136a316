const empty = { home: 0, away: 0 };
const games = [empty, empty, empty];
games[1].home = 3;
console.log(games.map((game) => `${game.home}:${game.away}`).join(" "));
