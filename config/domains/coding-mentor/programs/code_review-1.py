def discount(price, member):
    try:
        if member.age > 65:
            price = price * 0.8
    except:
        pass
    return price


print(discount(50, {"name": "Rosa", "age": 70}))
