class Account:
    def __init__(self, owner):
        owner = owner
        self.balance = 0

    def pay_in(self, amount):
        self.balance += amount


kitty = Account("chess club")
kitty.pay_in(40)
print(kitty.owner, kitty.balance)
