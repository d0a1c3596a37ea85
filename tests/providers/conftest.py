"""The stand-ins, installed as plug-ins of this process and of those that it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batch.providers import registry
from tests.providers.stand_ins.service import PlugIn, Service, plugged_in
from tests.support.places import ROOT


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    """Installs the stand-ins for a service; gives what the environment of a run then holds."""
    site = tmp_path / "site"

    def install(service: Service) -> dict[str, str]:
        environ = plugged_in(site, service)
        monkeypatch.syspath_prepend(site)
        registry.named.cache_clear()
        path = os.pathsep.join([str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return environ | {"PYTHONPATH": path}

    return install
