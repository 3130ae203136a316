guests = ["Ana", "(cancelled)", "(cancelled)", "Yusuf", "(cancelled)"]
for guest in guests:
    if guest == "(cancelled)":
        guests.remove(guest)
print(len(guests), guests)
