"""A facility on this machine, for the demo and the tests; it is not shipped.

It is an independent reading of the facts in `docs/portal.md` and of the facility's layout, and
shares nothing with `src/asynchy`: two readings of the same facts find more mistakes than one.
"""
