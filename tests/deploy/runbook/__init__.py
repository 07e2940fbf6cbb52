"""What it takes to follow the runbook as a person does: the document, a terminal, a race that goes on meanwhile, and
for each block what must be true after it.
"""

import pytest

# The checks are asserts; what they compared should be seen when they fail.
pytest.register_assert_rewrite(*(f"{__name__}.{each}" for each in ("scene", "daily", "rescue")))
