members = [["Ines", "0151", True], ["Oskar", "0172", False], ["Ines", "0160", True]]
phone_of = {}
for name, phone, paid in members:
    phone_of[name] = phone
print(len(members), "members,", len(phone_of), "in the phone list")
