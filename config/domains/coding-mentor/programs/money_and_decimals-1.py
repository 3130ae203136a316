dues = [0.10, 0.20]
paid = 0.30
if sum(dues) == paid:
    print("settled")
else:
    print("still open:", paid - sum(dues))
