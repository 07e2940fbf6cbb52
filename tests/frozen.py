"""Imported last by the process that roles are forked from (tests/forks.py): what it has imported stays for ever, and no
fork need walk through it when it collects what there is at its start, or copy the memory that holds it.
"""

import gc

gc.collect()
gc.freeze()
