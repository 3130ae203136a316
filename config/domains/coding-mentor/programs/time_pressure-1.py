def export(orders):
    lines = ["number,customer"]
    for order in orders:
        lines.append(order["number"] + "," + order["customer"])
    return "\n".join(lines)


def login(user, password):
    ...


print(export([{"number": 1041, "customer": "Bakery Hoch"}]))
