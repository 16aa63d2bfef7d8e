"""WCO Data Model XML: declarations come in, notifications go out.

Neither FastAPI nor gRPC is needed for any of it, and of what the light install lacks only `api.wco.schemas` needs
anything (lxml, extra `wco`), and only where an operator gives XML Schemas to validate against.
"""
