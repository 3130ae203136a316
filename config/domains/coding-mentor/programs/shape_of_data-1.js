const answer = JSON.parse('{"page": 1, "results": [{"title": "Emma"}, {"title": "Ulysses"}]}');
for (const book of answer) {
  console.log(book.title);
}
