"""``python -m aigenflow``."""

from aigenflow.main import main

if __name__ == "__main__":
    main()
