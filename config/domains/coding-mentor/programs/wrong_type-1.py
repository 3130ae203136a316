row = "eggs;3;0.45"
name, count, price = row.split(";")
total = count * 2
print(name, "for two weeks:", total)
print("cost:", total * float(price))
