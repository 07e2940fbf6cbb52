"""Certificates: that nothing of a race, or of some epochs, is missing, or what is; with digests that anyone can
compute.
"""
