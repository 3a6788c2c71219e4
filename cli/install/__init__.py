"""What an operator applies, printed by `nodetell install` from what kustomize made (rendered/, `make manifests`)."""
