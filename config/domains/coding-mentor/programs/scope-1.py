score = 0


def goal():
    score = score + 1


goal()
print("score:", score)
