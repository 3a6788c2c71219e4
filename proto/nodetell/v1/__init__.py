"""Version 1 of the wire contract; everything here but this file is generated from the .proto files beside it."""
