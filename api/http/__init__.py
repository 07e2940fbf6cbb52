"""What every route stands on: who may ask, what a handler takes and gives, errors, OpenAPI. Knows no subject."""
