const menu = { name: "all", items: [{ name: "soup" }, { name: "mains", items: [{ name: "pie" }, { name: "rice" }] }] };
function count(node) {
  let dishes = 0;
  for (const item of node.items) {
    dishes += item.items ? 1 : count(item);
  }
  return dishes;
}
console.log(count(menu));
