"""Pure: EndpointSlices → nodes."""
