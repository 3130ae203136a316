hives = {"north ": 3, "south": 5, "orchard": 2}
frames = 0
for name in ["north", "south", "orchard"]:
    frames += hives[name] * 10
print("frames to order:", frames)
