"""The package offers every public name and stays light."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import assaymark.stats as package


def test_every_public_function_of_the_modules_is_exported() -> None:
    public: set[str] = set()
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"assaymark.stats.{module.name}")
        if module.name not in ("checks", "bootstrap_weights"):
            public |= set(loaded.__all__)
    assert public <= set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(package.__file__).read_text())
    guarded = [node for top in tree.body if isinstance(top, ast.If) for node in top.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.name: node.module for node in guarded for alias in node.names}
    assert sorted(homes) == sorted(package.__all__)
    for name, module in homes.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(package, name)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'anova'"):
        _ = package.anova


def test_importing_does_not_load_scipy() -> None:
    code = (
        "import sys, assaymark.stats; assert 'scipy' not in sys.modules; "
        "from assaymark.stats import wilson, newcombe, bootstrap_mean, roc_auc, cohen_kappa, rogan_gladen, welch, gini; "
        "import numpy as np; print(wilson(1, 9)); bootstrap_mean([1.0, 2.0], rng=np.random.default_rng(0)); "
        "assert not [m for m in sys.modules if m.split('.')[0] in ('scipy', 'sklearn', 'statsmodels', 'torch', 'pandas')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
