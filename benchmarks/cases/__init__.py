"""What is measured, one module a subject, in the order in which it is."""
