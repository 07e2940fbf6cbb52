"""How much a process says in its log. Apart from log.py, because settings name them and must import nothing heavy."""

import logging

__all__ = ["LEVELS"]

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
