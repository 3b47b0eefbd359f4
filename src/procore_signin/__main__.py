"""`python -m procore_signin` is `procore-signin`."""

from __future__ import annotations

from procore_signin._cli import main

if __name__ == "__main__":
    main()
