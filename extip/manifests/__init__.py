"""`extip manifests`: a folder for `kubectl apply -k`. The YAML files are beside this in a wheel."""
