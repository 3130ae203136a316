const assert = require("node:assert");

function slug(title) {
  return title.toLowerCase().replace(" ", "-");
}
assert.equal(slug("Open Day"), "open-day");
assert.equal(slug("The Open Day"), "the-open-day");
console.log("all good");
