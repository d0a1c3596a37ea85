"""Results of the demo recordings, as the local service gave them."""

from __future__ import annotations

import pytest

from batch.transcripts.transcript import Transcript
from tests.support.demo_results import KEYS, of


@pytest.fixture(params=KEYS)
def said(request: pytest.FixtureRequest) -> Transcript:
    return of(request.param)
