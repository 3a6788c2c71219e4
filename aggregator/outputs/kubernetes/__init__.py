"""What is written to the API server where the operator has switched that on: Events, and conditions of Nodes."""
