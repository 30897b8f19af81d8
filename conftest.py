"""The zoo that the tests speak of is this repository's: what somebody has installed beside it stays out.

It holds for the processes that tests start, too. Tests that install plugins of their own take it back, and speak of
those alone.
"""

from __future__ import annotations

import os

from convzoo.plugins.catalogue import first_party, normalized
from convzoo.plugins.environment import ALLOW
from convzoo.plugins.installed import installed

INSTALLED = {normalized(each.owner.distribution) for each in installed()}
if INSTALLED - first_party():
    os.environ.setdefault(ALLOW, ",".join(sorted(INSTALLED & first_party())))
