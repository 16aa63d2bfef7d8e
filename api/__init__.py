"""The gateway of one authority, and the clients that speak to it.

Importing `api` or `api.client` needs neither grpc nor fastapi: those come in with `api.grpc_client` and `api.serve`.
"""
