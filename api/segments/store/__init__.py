"""All SQL of segments: `rows` of segments and what was done to them, `reads` that they are made of and change.

Which race a read is of says the database itself (migrations/routines/segments.sql).
"""
