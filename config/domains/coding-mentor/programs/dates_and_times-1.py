rents = {"flat": "3.2.2026", "garage": "28.12.2026", "cellar": "31.3.2026"}
first = min(rents.values())
print("due first:", first)
for name, day in rents.items():
    if day == first:
        print("pay the", name)
