"""The operations of the HTTP interface, one small module for each thing they are about."""
