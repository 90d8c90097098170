"""The watch-cache layer, after client-go's tools/cache: reflector, store, informer."""
