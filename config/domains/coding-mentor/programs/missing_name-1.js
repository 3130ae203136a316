const choir = { soprano: 9, alto: 7, tenor: 3, bass: 4 };
let singers = 0;
for (const voice of ["soprano", "alto", "tenor", "baritone"]) {
  singers += choir[voice];
}
console.log(`chairs: ${singers}`);
