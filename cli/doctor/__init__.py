"""What is wrong with an installation: what is read of it, and checks as pure functions of that."""
