def countdown(n):
    if n == 0:
        print("go")
        return
    print(n)
    countdown(n - 2)


countdown(5)
