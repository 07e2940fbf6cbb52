"""A machine of gateways whose clock is nobody's, or not the database's."""

from api.alerts.rules.machine_clock import MachineFacts, machines

SAMPLES = {
    "that nobody keeps": {machines: [MachineFacts("box", 0.2, kept=False)]},
    "that is off": {machines: [MachineFacts("box", -120.0, kept=True)]},
}
ELSEWHERE = (
    "have a time service keep the clock",
    "set CLOCK_KEPT=yes",
)
