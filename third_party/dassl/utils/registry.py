"""A table from names to classes or functions."""

from .errors import DuplicateName, UnknownName, nearest


class Registry:
    """Classes registered by decorating them: `@REGISTRY.register()`; found again by `REGISTRY.get("Name")`."""

    def __init__(self, name):
        self._name = name
        self._obj_map = {}  # upstream's name for it, which public code reads

    def register(self, obj=None, force=False):
        """Register `obj` under its own name; without `obj`, return a decorator that does. `force` replaces an entry."""
        if obj is None:
            return lambda target: self.register(target, force=force)
        name = obj.__name__
        if name in self._obj_map and not force:
            other = self._obj_map[name]
            raise DuplicateName(
                f"{self._name.lower()} name {name!r} is already taken by {other.__module__}.{other.__qualname__}; "
                f"give {obj.__module__}.{obj.__qualname__} another name"
            )
        self._obj_map[name] = obj
        return obj

    def get(self, name):
        """The object called `name`; UnknownName, with the three nearest, if there is none."""
        if name not in self._obj_map:
            known = ", ".join(nearest(name, self._obj_map)[:3]) or "none is registered"
            raise UnknownName(f"unknown {self._name.lower()} {name!r}; known, nearest first: {known}")
        return self._obj_map[name]

    def registered_names(self):
        return list(self._obj_map)

    def __contains__(self, name):
        return name in self._obj_map
