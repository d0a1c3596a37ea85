"""``import diarist`` and ``python -m diarist``: the package ``batch`` by the project's own name.

It is installed as the top-level module ``diarist`` (pyproject.toml). Python would find a file ``batch.py`` of the
user's own before our package, where there is one in the directory that it was started in; so this looks for the
package.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _package() -> ModuleType:
    """The package ``batch``, whatever else may bear that name."""
    known = sys.modules.get("batch")
    if known and hasattr(known, "__path__"):
        return known
    places = (Path(place) / "batch" for place in [str(Path(__file__).parent), *sys.path])
    ours = next(place for place in places if (place / "py.typed").is_file())
    spec = importlib.util.spec_from_file_location(
        "batch", ours / "__init__.py", submodule_search_locations=[str(ours)]
    )
    assert spec
    assert spec.loader
    package = importlib.util.module_from_spec(spec)
    sys.modules["batch"] = package
    spec.loader.exec_module(package)
    return package


if __name__ == "__main__":
    _package()
    from batch.cli.main import main

    main()
else:
    sys.modules[__name__] = _package()
