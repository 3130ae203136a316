import csv
import io

file = io.StringIO("name;km\nridge;14\ncanal;7\n")
total = 0
for row in csv.reader(file):
    total += int(row[1])
print("km:", total)
