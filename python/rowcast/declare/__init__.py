"""What an application declares: ``@subscription``, what a resolver takes and returns, and the names in the schema."""
