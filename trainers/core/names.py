"""Class names by position: data sets may have a name twice (ImageNet has two missiles)."""


def find_positions(wanted, known):
    """Where the names `wanted` stand in `known` -> (positions, the names that do not).

    A name that is there twice stands for each of its places in turn, so equal names are told apart by their order.
    """
    places, positions, unknown = {}, [], []
    for i, name in enumerate(known):
        places.setdefault(name, []).append(i)
    for name in wanted:
        if places.get(name):
            positions.append(places[name].pop(0))
        else:
            unknown.append(name)
    return positions, unknown
