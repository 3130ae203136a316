const form = { adults: "2", children: "1" };
const seats = form.adults + form.children;
console.log(`seats to book: ${seats}`);
