"""The benchmarks are no part of the package: they are imported from the checkout, wherever pytest starts."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
