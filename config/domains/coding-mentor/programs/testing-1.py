def initials(name):
    return "".join(part[0] for part in name.split(" "))


assert initials("Ada Lovelace") == "AL"
assert initials("Jean  Luc") == "JL"
print("all good")
