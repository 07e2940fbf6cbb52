"""What receivers want, as far as it differs: a plan says of one stream which epochs a receiver is sent, and what it has
of each before that. How they are sent is the same for all (fanout/subscription.py).
"""
