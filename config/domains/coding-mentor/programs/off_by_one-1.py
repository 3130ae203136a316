months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun"]
rain = [82, 61, 54, 40, 38, 45]
total = 0
for i in range(1, len(rain)):
    total = total + rain[i]
print("rain in", len(months), "months:", total)
