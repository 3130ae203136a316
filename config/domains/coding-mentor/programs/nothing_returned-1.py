def longest_walk(walks):
    best = walks[0]
    for walk in walks:
        if walk["km"] > best["km"]:
            best = walk
    print(best["name"])


walks = [{"name": "canal", "km": 7}, {"name": "ridge", "km": 14}]
winner = longest_walk(walks)
print("Sunday we do the " + winner)
