import json

answer = json.loads('{"station": "Kiel", "days": [{"max": 17}, {"max": 19}]}')
for day in answer["days"]:
    print(answer["station"], day["temperature"]["max"])
