"""What every framework has in common: endpoints on raw bytes, pages and problems."""
