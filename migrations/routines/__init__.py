"""SQL functions, procedures, triggers and views: each file whole, applied again when it has changed."""
