"""`extip migrate`: services and objects that were made for something else come to extip's way."""
