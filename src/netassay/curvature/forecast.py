BEYOND = 3


def forecast(*a): ...
