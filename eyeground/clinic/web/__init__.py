"""The service over HTTP: who may do what, how much may be sent, and a shelf of resources."""
