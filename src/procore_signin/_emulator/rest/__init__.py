"""The resource server: `/rest/*`, its lists, limits and errors."""
