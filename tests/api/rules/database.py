"""A disk that is full, so that nobody stores; and a database that is well, which nobody has looked at for hours."""

from api.alerts.rules.database import database
from tests.api.test_storage import storage

SAMPLES = {
    "": {database: [storage(problem="the disk is full", storing=0)]},
    "that nobody looks at": {database: [storage()]},
}
ELSEWHERE = (
    "start the api's processes again",
    "make room on the database's disk",
    "mend what it says",
    "end a session of the database that holds a lock",
    "give a right back",
)
