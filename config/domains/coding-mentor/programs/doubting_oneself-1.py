words = {"Haus": "house", "Baum": "tree"}
asked, right = ["Haus", "Baum"], 0
for word in asked:
    answer = {"Haus": "house ", "Baum": "Tree"}[word]
    if answer == words[word]:
        right += 1
print(right, "of", len(asked), "right")
