standard = ["tent", "stove", "rope"]
trips = {}
for trip in ["lake", "ridge"]:
    trips[trip] = standard
trips["lake"].append("paddle")
print("ridge:", trips["ridge"])
