from collections import Mapping


def show(settings):
    if isinstance(settings, Mapping):
        print(len(settings), "settings")


show({"colour": "green", "size": 12})
