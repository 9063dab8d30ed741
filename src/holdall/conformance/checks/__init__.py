"""The checks, one module for each category. `@check` registers each under its name."""
