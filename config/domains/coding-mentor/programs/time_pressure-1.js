const tickets = [{ id: 7, done: true }, { id: 9, done: false }];
function report(list) {
  const open = list.filter((ticket) => ticket.done);
  return open.length + " open, first is " + open[0].id;
}
console.log(report(tickets));
