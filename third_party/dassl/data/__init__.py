from ..lazy import attach

__getattr__, __all__ = attach(
    __name__, {"data_manager": ["DataManager", "DatasetWrapper"], "datasets": [], "samplers": [], "transforms": []}
)
