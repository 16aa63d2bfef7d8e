"""GS1 EPCIS 2.0: a movement's events as supply chains know them, with event ids that anybody can recompute.

Needs nothing that the light install does not have.
"""
