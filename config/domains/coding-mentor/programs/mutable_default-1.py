def plant(name, bed=[]):
    bed.append(name)
    return bed


front = plant("tulip")
back = plant("kale")
print("back:", back)
