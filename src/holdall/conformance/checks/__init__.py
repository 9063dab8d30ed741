"""The checks, one module a category. Each is registered under its name by `@check`."""
