"""Brings in every service, and with each its metrics: the command line imports a service only to run it."""

import api.app
import fanout.app
import gateway.app
import writer.app

__all__ = ["IMPORTED"]

IMPORTED = (api.app, fanout.app, gateway.app, writer.app)
