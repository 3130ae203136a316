times = ["9:41", "10:05", "8:59", "11:30"]
times.sort()
print("first train:", times[0])
