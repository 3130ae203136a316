def label(name, weight):
<<<<<<< HEAD
    return f"{name} ({weight} g)"
=======
    return name + ", " + str(weight) + " grams"
>>>>>>> feature/labels


print(label("honey", 500))
