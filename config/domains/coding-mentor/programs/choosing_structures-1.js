const loans = {};
loans[{ isbn: 1, shelf: "A" }] = "Tove";
loans[{ isbn: 2, shelf: "B" }] = "Uma";
console.log(Object.keys(loans).length + " books are out");
