"""All SQL of the fanout: `events` reads them, `streams` finds them, `cursors` keeps what receivers have, `sessions` who
they are.
"""

from shared.db.connections import STEADY_PLANS

__all__ = ["POOL_SETTINGS"]

# Of rows that anybody holds for longer than a commit takes, it is an administrator who does.
POOL_SETTINGS = {**STEADY_PLANS, "lock_timeout": "500ms"}
